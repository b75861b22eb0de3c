"""English words that change what a question asks, and words that do not; what the guard explains differences with."""

from __future__ import annotations

from collections.abc import Mapping


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


NEGATIONS = frozenset({"not", "no", "never", "without", "none", "neither", "nor", "nothing", "nobody", "except"})
FRESHNESS = _set("now currently latest newest recent recently current nowadays")
# Words that name a day or how often; two that differ are never one question.
DAYS = _set(
    "today tonight yesterday tomorrow hourly daily nightly weekly fortnightly monthly quarterly yearly annually"
)
MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
MONTH_SHORT = {name[:3]: name for name in MONTHS if name != "may"} | {"sept": "september"}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
QUANTIFIERS = _set(
    "all any some every each only both most few many least half first last second third once twice another other "
    "single entire whole always sometimes often exactly"
)
PRINCIPALS: Mapping[str, str] = {
    **dict.fromkeys(("i", "me", "my", "mine", "myself", "we", "us", "our", "ours"), "me"),
    **dict.fromkeys(("they", "them", "their", "theirs"), "they"),
    **dict.fromkeys(("he", "him", "his"), "he"),
    **dict.fromkeys(("she", "her", "hers"), "she"),
    **dict.fromkeys(
        _set(
            "wife husband spouse son daughter child kid baby mother father mom dad parent brother sister friend "
            "roommate boss employee colleague coworker landlord tenant neighbor neighbour partner girlfriend boyfriend"
        ),
        "relative",
    ),
}
ASKING: Mapping[str, str] = {
    "what": "what", "which": "what", "who": "who", "whom": "who", "whose": "who", "where": "where", "when": "when",
    "why": "why", "how": "how",
}  # fmt: skip
FORMATS = _set(
    "table list bullet bullets json csv markdown summary summarise summarize detail details briefly short sentence "
    "paragraph words poem essay diagram chart translate step steps example examples simply"
)
LANGUAGES = _set(
    "english spanish french german italian chinese mandarin japanese russian arabic hindi portuguese korean dutch "
    "polish turkish swedish latin greek hebrew"
)
TIERS = _set(
    "free basic standard premium pro plus business enterprise personal gold silver platinum student family trial "
    "android ios iphone ipad mac macos windows linux web mobile desktop online offline beta lite max mini"
)
ACTIONS = _set(
    "cancel change check confirm delete archive restore edit book order return track renew extend report replace "
    "activate create rename pay refund split add remove view apply send receive transfer open close buy sell lock "
    "unlock block unblock freeze unfreeze reset update install uninstall download upload sign log register withdraw "
    "deposit enable disable stop start find make use avoid prevent fix reduce increase convert compare"
)
# After one of these, a number names a thing and counts nothing.
NAMING = _set(
    "order ticket invoice case booking reference ref account flight error code part id number no claim policy "
    "article section form room gate version release build pr issue"
)
_OPPOSITES = """
increase/decrease raise/lower enable/disable activate/deactivate open/close on/off buy/sell lock/unlock freeze/unfreeze
block/unblock install/uninstall subscribe/unsubscribe send/receive before/after above/below over/under more/less
highest/lowest high/low best/worst better/worse good/bad cheapest/dearest cheap/expensive largest/smallest
large/small big/small long/short longest/shortest maximum/minimum max/min first/last earliest/latest early/late
left/right inside/outside in/out with/without include/exclude allow/forbid accept/reject approve/decline add/remove
start/stop begin/end start/end win/lose import/export upload/download arrive/depart arrival/departure
incoming/outgoing deposit/withdraw lend/borrow hot/cold old/new fast/slow advantages/disadvantages pros/cons
safe/dangerous possible/impossible legal/illegal public/private always/never upgrade/downgrade encrypt/decrypt
compress/decompress connect/disconnect gain/lose pass/fail push/pull rise/fall profit/loss credit/debit
income/expense married/single internal/external horizontal/vertical ascending/descending north/south east/west
day/night morning/evening child/adult strong/weak positive/negative male/female men/women man/woman boy/girl
husband/wife mother/father same/different easy/difficult easy/hard up/down true/false show/hide save/delete
join/leave sync/unsync follow/unfollow mute/unmute rich/poor happy/sad healthy/unhealthy wet/dry full/empty
input/output inbound/outbound gross/net fixed/variable weight/height permanent/temporary
"""
_SAME = """
buy/purchase/get begin/start/commence finish/complete/end big/large/huge quick/fast/rapid help/assist/aid
repair/fix/mend tell/explain/describe phone/telephone/cellphone price/cost/fee/charge maximum/max highest
minimum/min lowest mistake/error wrong/incorrect right/correct kid/child/children doctor/physician movie/film
shop/store cash/money cannot/unable requirement/required/require/needed/need allow/permit/let vacation/holiday
job/occupation/work car/automobile/vehicle near/close use/utilize/utilise reset/change currently/presently
approximately/about/roughly/around bill/invoice trip/journey/travel forget/forgot/forgotten delete/erase
picture/photo/image
lawyer/attorney apartment/flat employee/worker/staff buyer/customer/client delivery/shipping
parcel/package cancel/terminate regulation/rule/policy document/paper/paperwork procedure/process step/way/method/manner
happen/occur possible/feasible find/locate/get obtain/get receive/get earn/make create/make build/make improve/better
best/greatest/top good/great simple/easy hard/difficult important/significant college/university mail/email
colour/color favourite/favorite organise/organize centre/center cheque/check travelling/traveling licence/license
analyse/analyze litre/liter metre/meter neighbour/neighbor programme/program behaviour/behavior
learn/study weight/weigh loss/lose speak/talk app/application info/information pic/photo
"""
_EXPANSIONS = """
kyc=know your customer/atm=cash machine/pin=personal identification number/vpn=virtual private network/
ai=artificial intelligence/api=application programming interface/hr=human resources/faq=frequently asked questions/
ceo=chief executive officer/vat=value added tax/gdp=gross domestic product/diy=do it yourself/uk=united kingdom/
usa=united states of america/us=united states/eu=european union/nyc=new york city/pto=paid time off/
eta=estimated time of arrival/apr=annual percentage rate/sql=structured query language/2fa=two factor authentication/
mfa=multi factor authentication/otp=one time password/iban=international bank account number/
aml=anti money laundering/gdpr=general data protection regulation/sso=single sign on/qa=quality assurance/
ml=machine learning/llm=large language model/roi=return on investment/kpi=key performance indicator/
npm=node package manager/ssd=solid state drive/gpa=grade point average/phd=doctorate/
mba=master of business administration/bmi=body mass index/iv=intravenous/
ssn=social security number/dob=date of birth/poa=power of attorney/
nda=non disclosure agreement/
asap=as soon as possible/tv=television/pc=personal computer/la=los angeles/
"""
EXPANSIONS: Mapping[str, tuple[str, ...]] = {
    short: tuple(long.split())
    for short, long in (item.split("=") for item in _EXPANSIONS.replace("\n", "").split("/") if item)
}
UNITS: Mapping[str, tuple[str, float]] = {
    alias: (unit, factor)
    for unit, factor, aliases in (
        ("m", 1000.0, "km kilometer kilometers kilometre kilometres"),
        ("m", 1.0, "meter meters metre metres"),
        ("m", 0.01, "cm centimeter centimeters centimetre centimetres"),
        ("mile", 1.0, "mile miles mi"),
        ("ft", 1.0, "ft foot feet"),
        ("inch", 1.0, "inch inches"),
        ("g", 1000.0, "kg kilo kilos kilogram kilograms"),
        ("g", 1.0, "gram grams"),
        ("lb", 1.0, "lb lbs pound pounds"),
        ("oz", 1.0, "oz ounce ounces"),
        ("l", 1.0, "liter liters litre litres"),
        ("l", 0.001, "ml milliliter milliliters millilitre"),
        ("mb", 1.0, "mb megabyte megabytes"),
        ("mb", 1000.0, "gb gigabyte gigabytes gig gigs"),
        ("mb", 1e6, "tb terabyte terabytes"),
        ("s", 1.0, "s sec secs second seconds"),
        ("s", 60.0, "minute minutes min mins"),
        ("s", 3600.0, "hour hours hr hrs"),
        ("s", 86400.0, "day days"),
        ("s", 604800.0, "week weeks"),
        ("month", 1.0, "month months"),
        ("month", 12.0, "year years yr yrs"),
        ("usd", 0.01, "cent cents"),
        ("usd", 1.0, "$ usd dollar dollars buck bucks"),
        ("eur", 1.0, "€ eur euro euros"),
        ("gbp", 1.0, "£ gbp quid"),
        ("jpy", 1.0, "¥ jpy yen"),
        ("inr", 1.0, "₹ inr rs rupee rupees"),
        ("%", 1.0, "% percent pct"),
        ("celsius", 1.0, "celsius °c"),
        ("fahrenheit", 1.0, "fahrenheit °f"),
    )
    for alias in aliases.split()
}
_BELOW_TWENTY = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SMALL_NUMBERS: Mapping[str, int] = {
    **{word: number for number, word in enumerate(_BELOW_TWENTY.split())},
    **{word: 10 * number for number, word in enumerate(_TENS.split(), start=2)},
}
SCALES: Mapping[str, int] = {
    "hundred": 100, "thousand": 1000, "k": 1000, "million": 10**6, "m": 10**6, "billion": 10**9, "bn": 10**9,
    "lakh": 10**5, "lakhs": 10**5, "crore": 10**7, "crores": 10**7, "dozen": 12,
}  # fmt: skip
# Words that ask nothing by themselves; one that is there in one text only needs no explanation.
EMPTY = _set(
    """a an the of is are was were be been being am do does did doing have has had having will would shall should can
    could may might must to for in on at by from into with about as that this these those there here it its and or so
    if then than just also please kindly thanks thank you your yours hi hello hey dear team ok okay well um really very
    actually quick question possible need want like know tell let get give explain wondering someone something anyone
    anything one thing things way ways best-effort out up what which exactly ever even such happen happens"""
) - {"if", "than", "from", "to", "into"}


def _pairs(text: str) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for group in text.split():
        words = group.split("/")
        for word in words:
            found.setdefault(word, set()).update(other for other in words if other != word)
    return {word: frozenset(others) for word, others in found.items()}


OPPOSITES: Mapping[str, frozenset[str]] = _pairs(_OPPOSITES)
SAME: Mapping[str, frozenset[str]] = _pairs(_SAME)
