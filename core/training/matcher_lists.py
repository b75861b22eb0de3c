"""Words that the generated training pairs of the cache's matcher are made with, written for it."""

from __future__ import annotations

# Each line: words of which exchanging one for another changes what is asked.
ANTONYMS = tuple(
    tuple(line.split("/"))
    for line in """
increase/decrease
raise/lower
enable/disable
activate/deactivate
open/close
turn on/turn off
switch on/switch off
buy/sell
lock/unlock
freeze/unfreeze
block/unblock
install/uninstall
subscribe/unsubscribe
send/receive
before/after
above/below
more/less
highest/lowest
best/worst
cheapest/most expensive
largest/smallest
maximum/minimum
first/last
earliest/latest
early/late
left/right
inside/outside
with/without
include/exclude
allow/forbid
accept/reject
approve/decline
add/remove
start/stop
begin/end
win/lose
import/export
upload/download
arrive/depart
arrival/departure
incoming/outgoing
deposit/withdraw
lend/borrow
hot/cold
old/new
fast/slow
advantages/disadvantages
safe/dangerous
possible/impossible
legal/illegal
public/private
always/never
upgrade/downgrade
encrypt/decrypt
compress/decompress
connect/disconnect
gain/lose
pass/fail
push/pull
rise/fall
profit/loss
credit/debit
income/expense
married/single
internal/external
horizontal/vertical
ascending/descending
north/south
east/west
day/night
morning/evening
child/adult
""".strip().splitlines()
)
ACTIONS = tuple(
    tuple(line.split("/"))
    for line in """
cancel/change/check/confirm
delete/archive/restore/edit
book/cancel/change
order/return/track
renew/cancel/extend
report/replace/activate
create/delete/rename
pay/refund/split
add/edit/remove
view/change/delete
apply for/cancel/renew
""".strip().splitlines()
)
ENTITIES = tuple(
    tuple(line.split("/"))
    for line in """
France/Germany/Spain/Italy/Poland/Austria/Portugal/Norway/Sweden/Denmark/Greece/Turkey/Japan/China/India/Brazil/Mexico/Canada/Egypt/Kenya
Paris/Berlin/Madrid/Rome/Vienna/Lisbon/Oslo/London/Dublin/Tokyo/Delhi/Boston/Chicago/Denver/Seattle/Dallas/Atlanta/Toronto/Sydney/Houston
new york/los angeles/san francisco/las vegas/miami/orlando/philadelphia/phoenix
English/Spanish/French/German/Italian/Chinese/Japanese/Russian/Arabic/Hindi/Portuguese/Korean
Python/Java/JavaScript/Kotlin/PHP
iPhone/Android/Windows/Mac/Linux
visa/mastercard/american express/paypal
apple pay/google pay
Chrome/Firefox/Safari/Edge
Excel/Word/PowerPoint
dollars/euros/pounds/yen/francs/rupees
dollar/euro/pound/yen/franc/rupee
usd/eur/gbp/jpy/chf
breakfast/lunch/dinner
dog/cat/horse/rabbit
coffee/tea/milk/juice
chicken/beef/pork/fish/tofu
bus/train/plane/ferry
car/bike/motorcycle/truck
passport/visa card/driving licence
checking/savings
email/phone/address
mother/father/brother/sister/wife/husband/boss/son/daughter
John/Mary/Peter/Anna/David/Laura/Tom/Susan
sugar/salt/flour/butter/rice
""".strip().splitlines()
)
DATES = tuple(
    tuple(line.split("/"))
    for line in """
today/yesterday/tomorrow
tonight/this morning/tomorrow night
this week/last week/next week
this month/last month/next month
this year/last year/next year
Monday/Tuesday/Wednesday/Thursday/Friday/Saturday/Sunday
January/February/March/April/June/July/August/September/October/November/December
daily/weekly/monthly/yearly
days/weeks/months/years
minutes/hours/seconds
spring/summer/autumn/winter
""".strip().splitlines()
)
UNITS = tuple(
    tuple(line.split("/"))
    for line in """
kilometers/miles/meters
km/miles
kg/pounds/grams
celsius/fahrenheit
cups/tablespoons/teaspoons
ounces/grams
gallons/liters
inches/centimeters/feet
mb/gb/tb
percent/dollars
""".strip().splitlines()
)
QUANTIFIERS = tuple(
    tuple(line.split("/"))
    for line in """
all/some/none of
every/only one
at least/at most
more than/less than/exactly
any/all
most/few
both/neither
only/also
each/half of each
""".strip().splitlines()
)
PRINCIPALS = tuple(
    tuple(line.split("/"))
    for line in """
my/my wife's/my employee's/their/his/my child's/my company's
do I/do we/do they/does my mother
your/my/their
""".strip().splitlines()
)
# Each line: ways to say one thing; exchanging them changes nothing.
SYNONYMS = tuple(
    tuple(line.split("/"))
    for line in """
buy/purchase
get rid of/remove
begin/start
finish/complete
big/large
quick/fast
help/assist
repair/fix
show me/display/let me see
tell me/let me know
cell phone/mobile phone
phone number/telephone number
purchase/buy
price/cost
costs/price
maximum/highest possible
minimum/lowest possible
need to/have to
mistake/error
correct/right
kids/children
doctor/physician
movie/film
store/shop
money/cash
transfer money/send money
top up/add money to
cannot/can't/am unable to
requirements/what is required
allowed/permitted
vacation/holiday
job/occupation
car/automobile
near/close to
located/situated
use/utilize
reset/set anew
currently/at present
approximately/about/roughly
film/movie
address/place of residence
refund/money back
bill/invoice
trip/journey
forgot/can't remember
""".strip().splitlines()
)
ACRONYMS = tuple(
    tuple(line.split("/"))
    for line in """
KYC/know your customer
ATM/cash machine
PIN/personal identification number
VPN/virtual private network
AI/artificial intelligence
API/application programming interface
HR/human resources
FAQ/frequently asked questions
CEO/chief executive officer
VAT/value added tax
GDP/gross domestic product
DIY/do it yourself
UK/United Kingdom
USA/United States
EU/European Union
NYC/New York City
CPU/processor
RAM/memory
PTO/paid time off
ETA/estimated time of arrival
APR/annual percentage rate
ID/identification
SQL/structured query language
URL/web address
2FA/two-factor authentication
OTP/one-time password
asap/as soon as possible
info/information
app/application
""".strip().splitlines()
)
CONTRACTIONS = tuple(
    tuple(line.split("/"))
    for line in """
what's/what is
it's/it is
I'm/I am
I've/I have
don't/do not
doesn't/does not
can't/cannot
isn't/is not
won't/will not
there's/there is
where's/where is
how's/how is
I'd/I would
didn't/did not
""".strip().splitlines()
)
SPELLINGS = tuple(
    tuple(line.split("/"))
    for line in """
colour/color
favourite/favorite
organise/organize
centre/center
cheque/check
travelling/traveling
cancelled/canceled
licence/license
analyse/analyze
litre/liter
""".strip().splitlines()
)
OPENINGS = (
    "hi, ", "Hello, ", "hey there, ", "Good morning! ", "please tell me ", "Can you tell me ", "quick question: ",
    "I'd like to know: ", "Excuse me, ", "um, ", "Hi team, ", "Sorry to bother you, but ", "I was wondering, ",
)  # fmt: skip
CLOSINGS = (" please", " thanks", ", thank you!", " Thanks in advance.", " cheers", "??", " pls", "...", " asap please")
HOW = (
    "how do I",
    "how can I",
    "how to",
    "what is the way to",
    "what do I do to",
    "what steps let me",
    "is there a way to",
)
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
