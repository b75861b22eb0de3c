"""The scripted model of the shop workload: a service agent that knows the job and sees only the request."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from thrift_core.demo import reasoning_tokens
from thrift_core.testing import ChatRequest, Reply

from langchain_thrift.demo.sight import NeedError, Sight, StuckError

_REMARKS = {
    "find_customer": "I will look up the customer first.",
    "list_orders": "Now the customer's orders.",
    "get_order": "Let me open the order to see what was in it.",
    "get_product": "I need the product's details for the rules that apply.",
    "search_products": "Let me see what we have.",
    "check_stock": "Is it in stock?",
    "shipping_quote": "I will get the full price for the postcode.",
    "list_tickets": "Let me check whether this came up before.",
    "create_return": "The rules allow it, so I register the return.",
    "exchange_item": "It is in stock, so I register the exchange.",
    "refund_order": "The rules grant a refund here.",
    "change_address": "This order is still processing, so I change its address.",
    "add_note": "A note for the colleagues.",
    "recall": "I need to look at an earlier result again.",
}
_SIGNED = "\n\nKind regards,\nNorthbay Goods"


def shop_brain(request: ChatRequest) -> Reply:
    """Take the next step of a shop task, or answer it."""
    sight = Sight(request)
    try:
        return Reply(text=_answer(sight) + _SIGNED, reasoning_tokens=_thought(request))
    except NeedError as need:
        text = _REMARKS[need.calls[0].name]
        return Reply(text=text, tool_calls=tuple(need.calls), reasoning_tokens=_thought(request))
    except StuckError as stuck:
        return Reply(text=f"I am sorry, I could not settle this. {stuck}{_SIGNED}", reasoning_tokens=_thought(request))


def _thought(request: ChatRequest) -> int:
    """Return how long the model thinks: 64 to 192 tokens, the same for the same point of the same task."""
    point = f"{request.question}{sum(len(message.tool_calls) for message in request.messages)}"
    tokens = 64 * (1 + hashlib.blake2b(point.encode(), digest_size=1).digest()[0] % 3)
    return reasoning_tokens(request.model, tokens)


def _answer(sight: Sight) -> str:
    for pattern, skill in _SKILLS:
        if re.search(pattern, sight.task, re.IGNORECASE):
            return skill(sight)
    raise StuckError("I do not understand what you would like me to do.")


def _return(sight: Sight) -> str:
    customer, product = _customer(sight), _quoted(sight.task)
    order, line = _purchase(sight, customer, product)
    details = sight.look("get_product", sku=line["sku"])
    sight.look("list_tickets", customer_id=customer["id"]).rows("tickets", "subject")
    is_damaged = re.search(r"damaged|broken on arrival|cracked", sight.task, re.IGNORECASE) is not None
    if details.value("final_sale") in (True, "true") and not is_damaged:
        _note(sight, customer, f"Return of {line['sku']} declined: final sale.")
        return f"I am sorry, but the {product} is a final-sale product, and those cannot be returned."
    days = (_today(sight) - date.fromisoformat(order["delivered_on"])).days
    window = _return_days(sight, customer)
    if days > window and not is_damaged:
        _note(sight, customer, f"Return of {line['sku']} declined: delivered {days} days ago.")
        return (
            f"I am sorry, but the {product} was delivered {days} days ago and our return window is {window} days of "
            "delivery, so I cannot take it back."
        )
    paid = Decimal(str(line["unit_price"])) * int(line["quantity"])
    refund = paid
    was_used = re.search(r"\bused\b|\bopened\b|tried", sight.task, re.IGNORECASE) is not None
    if is_damaged:
        refund = paid + Decimal(str(order["shipping_cost"]))
    elif line["category"] == "electronics" and was_used:
        refund = _round(paid - paid * Decimal(sight.rule(r"restocking fee of (\d+) percent")) / 100)
    reason = "arrived damaged" if is_damaged else "customer changed their mind"
    done = sight.look(
        "create_return", order_id=order["order_id"], sku=line["sku"], reason=reason, refund_amount=f"{refund:.2f}"
    )
    return_id = done.value("return_id")
    _note(sight, customer, f"Return {return_id} for {line['sku']}, refund {refund:.2f}: {reason}.")
    return (
        f"I have registered the return of your {product} under number {return_id}. Please send it back before "
        f"{done.value('send_before')}; we then refund {refund:.2f} the way you paid."
    )


def _exchange(sight: Sight) -> str:
    customer, product = _customer(sight), _quoted(sight.task)
    order, line = _purchase(sight, customer, product)
    wanted = re.findall(r'"([^"]+)"', sight.task)[1]
    variants = sight.look("get_product", sku=line["sku"]).rows("variants", "sku", "variant", "price")
    new = next((variant for variant in variants if variant["variant"] == wanted), None)
    if new is None:
        return f"I am sorry, there is no {wanted} variant of the {product}."
    stock = sight.look("check_stock", sku=new["sku"])
    if int(stock.value("total_units")) == 0:
        restock = stock.value("next_restock")
        _note(sight, customer, f"Exchange for {new['sku']} not possible, restocked on {restock}.")
        return f"I am sorry, {wanted} is out of stock at the moment. It is expected back on {restock}."
    done = sight.look("exchange_item", order_id=order["order_id"], sku=line["sku"], new_sku=new["sku"])
    difference, exchange_id = done.value("price_difference"), done.value("exchange_id")
    _note(sight, customer, f"Exchange {exchange_id}: {line['sku']} for {new['sku']}, difference {difference}.")
    return f"Your {product} is exchanged for {wanted} under number {exchange_id}. The price difference is {difference}."


def _address(sight: Sight) -> str:
    customer = _customer(sight)
    found = re.search(r"new address is ([^,]+), (\w+) ([^.\n]+?)\.", sight.task)
    if found is None:
        raise StuckError("I could not read the new address.")
    street, postcode, city = found.groups()
    orders = sight.look("list_orders", customer_id=customer["id"]).rows("orders", "order_id", "status")
    open_orders = [order["order_id"] for order in orders if order["status"] == "processing"]
    shipped = [order for order in orders if order["status"] == "shipped"]
    for order_id in open_orders:
        sight.look("get_order", order_id=order_id).rows("lines", "name")
        sight.look("change_address", order_id=order_id, street=street, city=city, postcode=postcode).value("postcode")
    tracking = [sight.look("get_order", order_id=order["order_id"]).value("tracking_number") for order in shipped]
    _note(sight, customer, f"Moved to {street}, {postcode} {city}: changed {', '.join(open_orders)}.")
    text = f"I have changed the address of {', '.join(open_orders)} to {street}, {postcode} {city}."
    if tracking:
        text += f" Already on its way and with the carrier only: {', '.join(tracking)}."
    return text


def _late(sight: Sight) -> str:
    customer = _customer(sight)
    orders = sight.look("list_orders", customer_id=customer["id"]).rows("orders", "order_id", "status", "promised_on")
    waiting = [order for order in orders if order["status"] == "shipped"]
    if not waiting:
        return "All your orders have been delivered."
    order = min(waiting, key=lambda row: str(row["promised_on"]))
    opened = sight.look("get_order", order_id=order["order_id"])
    tracking, total = opened.value("tracking_number"), Decimal(str(opened.value("total")))
    days = (_today(sight) - date.fromisoformat(order["promised_on"])).days
    allowed = int(sight.rule(r"delivery that is more than (\d+) days late"))
    tickets = sight.look("list_tickets", customer_id=customer["id"])
    # The newest message names the order and the goodwill; both must be on one ticket.
    granted = [
        ticket
        for ticket in tickets.rows("tickets", "order_id", "messages")
        if ticket["order_id"] == order["order_id"] and "goodwill" in str(ticket["messages"]).lower()
    ]
    if days <= allowed or granted:
        _note(sight, customer, f"Asked about {order['order_id']}, {days} days late; no refund.")
        why = "we have granted the goodwill refund for it already" if granted else f"it is {days} days late"
        return f"I am sorry that {order['order_id']} is late; {why}. The tracking number is {tracking}."
    percent = Decimal(sight.rule(r"goodwill refund of (\d+) percent"))
    most = Decimal(sight.rule(r"at most (\d+\.\d\d)"))
    amount = min(_round(total * percent / 100), most)
    done = sight.look("refund_order", order_id=order["order_id"], amount=f"{amount:.2f}", reason="late delivery")
    done.value("refund_id")
    _note(sight, customer, f"Goodwill of {amount:.2f} on {order['order_id']}: {days} days late.")
    return (
        f"I am sorry that {order['order_id']} is {days} days late. I have refunded {amount:.2f} as goodwill. "
        f"The tracking number is {tracking}."
    )


def _warranty(sight: Sight) -> str:
    customer, product = _customer(sight), _quoted(sight.task)
    order, line = _purchase(sight, customer, product)
    months = int(sight.look("get_product", sku=line["sku"]).value("warranty_months"))
    ends = date.fromisoformat(order["delivered_on"]) + timedelta(days=30 * months)
    if ends < _today(sight):
        percent = sight.rule(r"voucher of (\d+) percent")
        _note(sight, customer, f"Warranty of {line['sku']} ended on {ends}; voucher offered.")
        return (
            f"I am sorry, the warranty of {months} months ended on {ends}. What I can offer is a voucher of {percent} "
            "percent on a new one."
        )
    if int(sight.look("check_stock", sku=line["sku"]).value("total_units")) > 0:
        done = sight.look("exchange_item", order_id=order["order_id"], sku=line["sku"], new_sku=line["sku"])
        number = done.value("exchange_id")
        _note(sight, customer, f"Warranty replacement {number} for {line['sku']}.")
        return f"That should not happen. We replace your {product} under warranty, number {number}."
    paid = Decimal(str(line["unit_price"])) * int(line["quantity"])
    sight.look("refund_order", order_id=order["order_id"], amount=f"{paid:.2f}", reason="warranty").value("refund_id")
    _note(sight, customer, f"Warranty refund of {paid:.2f} for {line['sku']}, out of stock.")
    return f"I am sorry about that. The {product} is out of stock, so I have refunded the {paid:.2f} you paid."


def _spending(sight: Sight) -> str:
    customer = _customer(sight)
    found = re.search(r"on (\w+) (?:products|things|stuff) (?:this year|in (\d{4}))", sight.task)
    if found is None:
        raise StuckError("I could not tell which products you mean.")
    category, year = found[1], found[2] or str(_today(sight).year)
    orders = sight.look("list_orders", customer_id=customer["id"]).rows("orders", "order_id", "placed_on")
    wanted = [order["order_id"] for order in orders if str(order["placed_on"]).startswith(year)]
    total = Decimal(0)
    # Two at a time, as an agent that looks several things up at once does.
    for start in range(0, len(wanted), 2):
        pair = [("get_order", {"order_id": order_id}) for order_id in wanted[start : start + 2]]
        for opened in sight.look_at(pair):
            lines = opened.rows("lines", "category", "line_total")
            total += sum(Decimal(str(line["line_total"])) for line in lines if line["category"] == category)
    return f"In {year} you spent {total:.2f} on {category} products, without shipping."


def _advice(sight: Sight) -> str:
    customer = _customer(sight)
    found = re.search(r"cheapest well rated ([^?,.]+?) (?:you have|that you have)", sight.task)
    if found is None:
        raise StuckError("I could not tell what you are looking for.")
    least = Decimal(sight.rule(r"average of at least (\d\.\d)"))
    products = sight.look("search_products", query="", category=found[1].split()[0]).rows("products", "sku", "price")
    rated = [row for row in products if Decimal(str(row["rating"])) >= least]
    for product in sorted(rated, key=lambda row: (Decimal(str(row["price"])), row["sku"])):
        if int(sight.look("check_stock", sku=product["sku"]).value("total_units")) == 0:
            continue
        details = sight.look("get_product", sku=product["sku"])
        if details.value("final_sale") in (True, "true") and "final sale" in sight.task:
            continue
        postcode = _address_of(sight, customer)
        quote = sight.look("shipping_quote", sku=product["sku"], postcode=postcode)
        total = quote.value("total_with_standard_shipping")
        return f"The {product['name']} ({product['sku']}) fits best. With shipping to {postcode} it comes to {total}."
    return "I am sorry, nothing that fits is in stock at the moment."


def _customer(sight: Sight) -> dict[str, Any]:
    found = re.search(r"[\w.]+@[\w.]+\w", sight.task)
    if found is None:
        raise StuckError("Which e-mail address did you order with?")
    rows = sight.look("find_customer", query=found[0]).rows("customers", "id", "email", "tier")
    for row in rows:
        if row["email"] == found[0]:
            return row
    raise StuckError(f"I could not find a customer with the address {found[0]}.")


def _address_of(sight: Sight, customer: dict[str, Any]) -> str:
    return str(sight.look("find_customer", query=customer["email"]).value("postcode"))


def _purchase(sight: Sight, customer: dict[str, Any], product: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the newest delivered order that has the product, and the line it is on."""
    fields = ("order_id", "status", "delivered_on", "shipping_cost")
    for order in sight.look("list_orders", customer_id=customer["id"]).rows("orders", *fields):
        if order["status"] != "delivered":
            continue
        opened = sight.look("get_order", order_id=order["order_id"])
        for line in opened.rows("lines", "sku", "name", "quantity", "unit_price", "category"):
            if line["name"] == product:
                return order, line
    raise StuckError(f"I could not find the {product} in your orders.")


def _note(sight: Sight, customer: dict[str, Any], text: str) -> None:
    sight.look("add_note", customer_id=customer["id"], text=text)


def _return_days(sight: Sight, customer: dict[str, Any]) -> int:
    if customer["tier"] == "plus":
        return int(sight.rule(r"plus programme it is within (\d+) days"))
    return int(sight.rule(r"returned within (\d+) days of delivery"))


def _today(sight: Sight) -> date:
    return date.fromisoformat(sight.rule(r"Today is (\d{4}-\d\d-\d\d)"))


def _quoted(text: str) -> str:
    found = re.search(r'"([^"]+)"', text)
    if found is None:
        raise StuckError("Which product is it?")
    return found[1]


def _round(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


# The first pattern found in the task decides.
_SKILLS: tuple[tuple[str, Callable[[Sight], str]], ...] = (
    (r"how much (?:have I|did I) spen[dt]", _spending),
    (r"cheapest well rated", _advice),
    (r"new address is", _address),
    (r"exchange|swap", _exchange),
    (r"warranty|stopped working|gave up|no longer", _warranty),
    (r"send (?:it |them )?back|return|money back", _return),
    (r"still (?:has )?not|still waiting|late|where is", _late),
)
