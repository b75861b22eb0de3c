"""The shop workload's tasks: each is planted into the database with an outcome that can be checked."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from langchain_thrift.demo.shop_data import TODAY, Shop

Check = Callable[[Shop, str], bool]


@dataclass(frozen=True, slots=True)
class Task:
    """One customer's request.

    Attributes:
        id: unique in the workload.
        text: what the customer writes.
        is_resolved: whether database and answer are as they should be afterwards.
    """

    id: str
    text: str
    is_resolved: Check


def plant_tasks(shop: Shop) -> list[Task]:
    """Plant every scene into the shop and return its tasks, kinds taking turns as they do in a real queue."""
    customers = shop.all("select * from customers order by id")
    standard = iter([row for row in customers if row["tier"] == "standard"])
    plus = iter([row for row in customers if row["tier"] == "plus"])
    kinds = [
        list(_returns(shop, standard, plus)),
        list(_exchanges(shop, standard)),
        list(_addresses(shop, standard)),
        list(_late(shop, standard)),
        list(_warranties(shop, standard)),
        list(_spending(shop, standard)),
        list(_advice(shop, standard)),
    ]
    shop.db.commit()
    longest = max(len(tasks) for tasks in kinds)
    return [tasks[turn] for turn in range(longest) for tasks in kinds if turn < len(tasks)]


def _returns(shop: Shop, standard: Iterator[sqlite3.Row], plus: Iterator[sqlite3.Row]) -> Iterator[Task]:
    scenes = (
        ("return-unused", standard, "kitchen", 12, 100, False,
         'I\'d like to send back the "{product}". It is unused, I simply ordered one too many. How does that work?'),
        ("return-opened", standard, "electronics", 20, 85, False,
         'the "{product}" is not for me. I opened it and used it for a few days, but I want to return it.'),
        ("return-late", standard, "home", 44, None, False,
         'please tell me how to send back the "{product}", it does not go with the rest of the room.'),
        ("return-plus", plus, "outdoor", 38, 100, False,
         'can I still get my money back for the "{product}"? It has only been lying in the cupboard.'),
        ("return-final-sale", standard, "bicycle", 6, None, True,
         'I would like to return the "{product}" that came last week, the colour is not what I had hoped for.'),
        ("return-damaged", standard, "office", 5, 100, False,
         'your parcel has arrived, but the "{product}" in it is damaged. I want to send it back.'),
    )  # fmt: skip
    for name, customers, category, days, percent, is_final_sale, text in scenes:
        customer = next(customers)
        product = _new_product(shop, customer, category, is_final_sale=is_final_sale)
        order_id = _delivered(shop, customer, product, days=days)
        refund = None if percent is None else (product["price_cents"] * percent * 2 + 100) // 200
        if name == "return-damaged" and refund is not None:
            refund += int(shop.one("select shipping_cents from orders where id = ?", order_id)[0])
        yield Task(name, _letter(customer, text, product), _returned(order_id, refund))


def _exchanges(shop: Shop, customers: Iterator[sqlite3.Row]) -> Iterator[Task]:
    scenes = (
        ("exchange-size", "Merino Base Layer", "M", "L", True),
        ("exchange-dearer", "Cast-Iron Casserole", "20 cm", "24 cm", True),
        ("exchange-cheaper", "Lumen E-Reader 7", "64 GB", "32 GB", True),
        ("exchange-out-of-stock", "Task Chair Vela", "grey", "blue", False),
    )
    texts = (
        'I bought the "{product}" two weeks ago. Could I exchange it for "{wanted}"?',
        'would you swap my "{product}" for the "{wanted}" one? It has not left its box.',
        'I chose the wrong variant. I have the "{product}" and would like to exchange it for "{wanted}".',
        'is it possible to swap the "{product}" you sent me for "{wanted}"? It fits the room better.',
    )
    for (name, family, have, want, is_there), text in zip(scenes, texts, strict=True):
        customer = next(customers)
        old, new = _variant(shop, family, have), _variant(shop, family, want)
        _forget_product(shop, customer, old["name"])
        order_id = _delivered(shop, customer, old, days=13)
        _set_stock(shop, new["sku"], is_there=is_there)
        restock_on = shop.one("select min(restock_on) from stock where sku = ?", new["sku"])[0]
        check = _exchanged(order_id, new["sku"]) if is_there else _untouched(order_id, restock_on)
        yield Task(name, _letter(customer, text, old, wanted=want), check)


def _addresses(shop: Shop, customers: Iterator[sqlite3.Row]) -> Iterator[Task]:
    moves = (
        ("Marktplein 4", "3512", "Utrecht", 2, 1),
        ("Gartenweg 18", "04109", "Leipzig", 1, 1),
        ("Avenue Foch 92", "69006", "Lyon", 3, 0),
        ("Sodra Vagen 7", "21145", "Malmo", 2, 2),
    )
    texts = (
        "I have moved and my orders must not go to the old flat. My new address is {address}. Can you see to it?",
        "please send what is still open to where I live now. My new address is {address}. Thanks a lot.",
        "we moved earlier than planned. The new address is {address}. Please change it for everything that is open.",
        "could you redirect my orders? My new address is {address}. I do not mind if it takes a day longer.",
    )
    for number, ((street, postcode, city, open_orders, on_the_way), text) in enumerate(zip(moves, texts, strict=True)):
        customer = next(customers)
        ids = {
            status: [_recent(shop, customer, status, days=1 + 2 * turn) for turn in range(count)]
            for status, count in (("processing", open_orders), ("shipped", on_the_way))
        }
        letter = _letter(customer, text.replace("{address}", f"{street}, {postcode} {city}"))
        yield Task(f"address-{number + 1}", letter, _moved(ids["processing"], ids["shipped"], street, postcode))


def _late(shop: Shop, customers: Iterator[sqlite3.Row]) -> Iterator[Task]:
    scenes = (
        ("late-goodwill", "kitchen", 1, 9, False,
         "my last order has still not come, and it was promised more than a week ago. What is going on?"),
        ("late-capped", "office", 2, 12, False,
         "where is my parcel? I am still waiting, and nobody told me anything. This is disappointing."),
        ("late-a-little", "home", 1, 3, False,
         "my order is late. It should have been here some days ago. Can you have a look, please?"),
        ("late-again", "outdoor", 1, 11, True,
         "I am still waiting for my order and I think I should get something for all that time."),
    )  # fmt: skip
    for name, category, quantity, days, is_granted, text in scenes:
        customer = next(customers)
        product = _new_product(shop, customer, category)
        order_id = shop.add_order(
            customer["id"],
            [(product["sku"], quantity)],
            placed_on=TODAY - timedelta(days=days + 5),
            promised_on=TODAY - timedelta(days=days),
            status="shipped",
        )
        if is_granted:
            _grant_goodwill(shop, customer, order_id)
        cents = min((shop.order_cents(order_id) + 5) // 10, 2500) if days > 5 and not is_granted else None
        tracking = str(shop.one("select tracking from orders where id = ?", order_id)[0])
        yield Task(name, _letter(customer, text), _refunded(order_id, cents, tracking))


def _warranties(shop: Shop, customers: Iterator[sqlite3.Row]) -> Iterator[Task]:
    scenes = (
        ("warranty-replace", "electronics", 300, True,
         'the "{product}" stopped working yesterday, just like that. Is that covered?'),
        ("warranty-refund", "kitchen", 420, False,
         'after a good year the "{product}" no longer does anything at all. I think it is still under warranty?'),
        ("warranty-over", "bicycle", 2100, True,
         'my "{product}" gave up this week. What can you do for me?'),
        ("warranty-office", "office", 500, True,
         'I have a warranty question: the "{product}" no longer works, although I always took good care of it.'),
    )  # fmt: skip
    for name, category, days, is_there, text in scenes:
        customer = next(customers)
        product = _new_product(shop, customer, category)
        order_id = _delivered(shop, customer, product, days=days)
        _set_stock(shop, product["sku"], is_there=is_there)
        if days > 30 * product["warranty_months"]:
            check = _untouched(order_id, "20 percent")
        elif is_there:
            check = _exchanged(order_id, product["sku"])
        else:
            check = _refunded(order_id, product["price_cents"], "")
        yield Task(name, _letter(customer, text, product), check)


def _spending(shop: Shop, customers: Iterator[sqlite3.Row]) -> Iterator[Task]:
    texts = (
        ("outdoor", "for my budget: how much have I spent on outdoor products this year? To the cent, please."),
        ("kitchen", "my partner and I have a bet. How much did I spend on kitchen things in 2026?"),
        ("electronics", "I need it for my records: how much did I spend on electronics products in 2026?"),
        ("home", "we are adding up what the new flat cost. How much have I spent on home stuff this year?"),
    )
    for number, (category, text) in enumerate(texts):
        customer = next(customers)
        for turn in range(3):
            chosen = [_new_product(shop, customer, name) for name in (category, "office", "bicycle")]
            lines = [(product["sku"], 1 + turn % 2) for product in chosen]
            placed_on = TODAY - timedelta(days=50 + 60 * turn)
            shop.add_order(customer["id"], lines, placed_on=placed_on, status="delivered")
        cents = shop.one(
            "select sum(quantity * unit_cents) from order_lines join orders on orders.id = order_id "
            "join products using (sku) where customer_id = ? and category = ? and placed_on like '2026%'",
            customer["id"],
            category,
        )[0]
        yield Task(f"spending-{number + 1}", _letter(customer, text), _says(f"{cents // 100}.{cents % 100:02d}"))


def _advice(shop: Shop, customers: Iterator[sqlite3.Row]) -> Iterator[Task]:
    texts = (
        ("kitchen", "what is the cheapest well rated kitchen product you have, sent to my home? It is a gift."),
        ("outdoor", "I want to try hiking. What is the cheapest well rated outdoor item you have in stock?"),
        ("office", "could you name the cheapest well rated office thing that you have, with shipping to my door?"),
        ("electronics", "which is the cheapest well rated electronics product you have? What is it with shipping?"),
    )
    for number, (category, text) in enumerate(texts):
        # Ratings are decided late and differ by variant, so that one search is not the whole answer.
        row = shop.one(
            "select sku, price_cents from products where category = ? and rating >= 4.0 and "
            "(select sum(units) from stock where stock.sku = products.sku) > 0 order by price_cents, sku",
            category,
        )
        total = row["price_cents"] + (0 if row["price_cents"] >= 7500 else 590)
        check = _says(row["sku"], f"{total // 100}.{total % 100:02d}")
        yield Task(f"advice-{number + 1}", _letter(next(customers), text), check)


def _letter(customer: sqlite3.Row, text: str, product: sqlite3.Row | None = None, wanted: str = "") -> str:
    body = text.format(product=product["name"], wanted=wanted) if product is not None else text
    return f"Hello, this is {customer['name']} ({customer['email']}): {body}"


def _new_product(shop: Shop, customer: sqlite3.Row, category: str, *, is_final_sale: bool = False) -> sqlite3.Row:
    """Return a product of a category that the customer never ordered before."""
    rows = shop.all(
        "select * from products where category = ? and is_final_sale = ? and sku not in (select sku from order_lines "
        "join orders on orders.id = order_id where customer_id = ?) order by sku",
        category,
        int(is_final_sale),
        customer["id"],
    )
    return shop.random.choice(rows)


def _variant(shop: Shop, family: str, variant: str) -> sqlite3.Row:
    return shop.one("select * from products where family = ? and variant = ?", family, variant)


def _forget_product(shop: Shop, customer: sqlite3.Row, name: str) -> None:
    """Take a product out of the customer's earlier orders, unless it is all there was."""
    shop.db.execute(
        "update order_lines set sku = 'OFF-3601' where sku = (select sku from products where name = ?) "
        "and order_id in (select id from orders where customer_id = ?)",
        (name, customer["id"]),
    )


def _delivered(shop: Shop, customer: sqlite3.Row, product: sqlite3.Row, *, days: int) -> str:
    delivered_on = TODAY - timedelta(days=days)
    extra = _new_product(shop, customer, "home")
    lines = [(product["sku"], 1)] + ([(extra["sku"], 1)] if extra["sku"] != product["sku"] else [])
    placed_on = delivered_on - timedelta(days=4)
    return shop.add_order(customer["id"], lines, placed_on=placed_on, status="delivered", delivered_on=delivered_on)


def _recent(shop: Shop, customer: sqlite3.Row, status: str, *, days: int) -> str:
    lines = [(_new_product(shop, customer, category)["sku"], 1) for category in ("home", "kitchen")]
    return shop.add_order(customer["id"], lines, placed_on=TODAY - timedelta(days=days), status=status)


def _set_stock(shop: Shop, sku: str, *, is_there: bool) -> None:
    if is_there:
        shop.db.execute("update stock set units = 6, restock_on = null where sku = ? and warehouse = 'Lyon'", (sku,))
        return
    restock_on = (TODAY + timedelta(days=17)).isoformat()
    shop.db.execute("update stock set units = 0, restock_on = ? where sku = ?", (restock_on, sku))


def _grant_goodwill(shop: Shop, customer: sqlite3.Row, order_id: str) -> None:
    texts = [
        ("customer", f"My order {order_id} is overdue by a week now."),
        ("agent", "I am sorry. I have refunded ten percent as goodwill and asked the carrier to look for the parcel."),
        ("customer", "That is kind of you. I will wait a few more days then."),
    ]
    opened_on = TODAY - timedelta(days=4)
    shop.add_ticket(customer["id"], "Late delivery", texts, opened_on=opened_on, order_id=order_id)


def _returned(order_id: str, cents: int | None) -> Check:
    def check(shop: Shop, answer: str) -> bool:
        rows = shop.all("select * from returns where order_id = ?", order_id)
        if cents is None:
            return not rows and "cannot" in answer
        return [row["refund_cents"] for row in rows] == [cents] and rows[0]["id"] in answer

    return check


def _exchanged(order_id: str, new_sku: str) -> Check:
    def check(shop: Shop, answer: str) -> bool:
        rows = shop.all("select * from exchanges where order_id = ?", order_id)
        return [row["new_sku"] for row in rows] == [new_sku] and rows[0]["id"] in answer

    return check


def _refunded(order_id: str, cents: int | None, said: str) -> Check:
    def check(shop: Shop, answer: str) -> bool:
        rows = shop.all("select cents from refunds where order_id = ?", order_id)
        return [row["cents"] for row in rows] == ([] if cents is None else [cents]) and said in answer

    return check


def _moved(open_orders: list[str], shipped: list[str], street: str, postcode: str) -> Check:
    def check(shop: Shop, answer: str) -> bool:
        rows = {row["id"]: row for row in shop.all("select * from orders")}
        moved = all((rows[name]["street"], rows[name]["postcode"]) == (street, postcode) for name in open_orders)
        kept = all(rows[name]["street"] != street and rows[name]["tracking"] in answer for name in shipped)
        return moved and kept

    return check


def _untouched(order_id: str, said: str) -> Check:
    def check(shop: Shop, answer: str) -> bool:
        tables = ("returns", "exchanges", "refunds")
        acts = [row for table in tables for row in shop.all(f"select 1 from {table} where order_id = ?", order_id)]  # noqa: S608
        return not acts and said in answer

    return check


def _says(*texts: str) -> Check:
    def check(shop: Shop, answer: str) -> bool:
        return all(text in answer for text in texts)

    return check
