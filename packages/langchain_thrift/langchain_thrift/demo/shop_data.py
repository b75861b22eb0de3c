"""Builds the demo's shop: an SQLite database of customers, orders, products, stock and tickets from one seed."""

from __future__ import annotations

import random
import sqlite3
from datetime import date, timedelta

from langchain_thrift.demo.shop_catalog import FAMILIES, Family

TODAY = date(2026, 11, 20)
CUSTOMERS = 56
WAREHOUSES = ("Utrecht", "Leipzig", "Lyon", "Malmo")

_SCHEMA = """
create table customers (id text primary key, name text, email text, phone text, street text, city text, postcode text,
    tier text, since text);
create table products (sku text primary key, family text, variant text, name text, brand text, category text,
    price_cents int, weight_grams int, warranty_months int, is_final_sale int, rating real, reviews int, about text);
create table stock (sku text, warehouse text, units int, restock_on text, primary key (sku, warehouse));
create table orders (id text primary key, customer_id text, placed_on text, status text, promised_on text,
    shipped_on text, delivered_on text, carrier text, tracking text, street text, city text, postcode text,
    payment text, shipping_cents int);
create table order_lines (order_id text, line int, sku text, quantity int, unit_cents int);
create table tickets (id text primary key, customer_id text, order_id text, opened_on text, status text, subject text);
create table ticket_messages (ticket_id text, sent_on text, author text, text text);
create table returns (id text primary key, order_id text, sku text, reason text, refund_cents int);
create table refunds (id text primary key, order_id text, cents int, reason text);
create table exchanges (id text primary key, order_id text, sku text, new_sku text, difference_cents int);
create table notes (customer_id text, text text);
"""
_FIRST = (
    "Maja",
    "Tomas",
    "Ingrid",
    "Pavel",
    "Aisha",
    "Jonas",
    "Camille",
    "Diego",
    "Hanna",
    "Rafael",
    "Yuki",
    "Leon",
    "Sofia",
    "Emeka",
    "Clara",
    "Mateusz",
    "Nora",
    "Luca",
    "Priya",
    "Oskar",
    "Elena",
    "Samir",
    "Freya",
    "Anton",
    "Marta",
    "Hugo",
    "Zeynep",
    "Arne",
)
_LAST = (
    "Lindqvist",
    "Okafor",
    "Moreau",
    "Novak",
    "Haddad",
    "Jansen",
    "Rossi",
    "Petersen",
    "Kowalska",
    "Silva",
    "Tanaka",
    "Brandt",
    "Murphy",
    "Castillo",
    "Vermeer",
    "Eriksen",
    "Dubois",
    "Fischer",
    "Nakamura",
    "Ortega",
)
_STREETS = ("Kanaalweg", "Birkenallee", "Rue des Lilas", "Strandgatan", "Hoge Rijndijk", "Lindenstrasse", "Quai Sud")
_CITIES = (("Utrecht", "3511"), ("Leipzig", "0410"), ("Lyon", "6900"), ("Malmo", "2114"), ("Gent", "9000"))
_CARRIERS = ("PostNord", "DHL", "Colissimo", "DPD")
_PAYMENTS = ("card ending 4242", "card ending 0077", "bank transfer", "invoice, 14 days", "PayPal")
_SUBJECTS = (
    ("Invoice with company name", "Could you please put our company name on the invoice? We need it for the books.",
     "Of course. The corrected invoice is in your account under Documents, and a copy is on its way by e-mail."),
    ("Where is the manual?", "The box had everything in it except the manual. Is there a version online?",
     "Yes, every manual is on the product page at the very bottom. I have also attached the PDF here for you."),
    ("Question about delivery time", "I will be away next week. Can the parcel wait at the depot until I am back?",
     "The carrier keeps it for seven days. I have set the delivery to pick-up, the code follows by text message."),
    ("Gift wrapping", "I forgot to tick gift wrapping. Is it too late for that?",
     "It had left the warehouse already, I am afraid. I have put a voucher for free wrapping into your account."),
    ("Newsletter", "Please take me off the newsletter, I get it three times a week now.",
     "Done. It can take two days until the last one is through; after that it is quiet."),
)  # fmt: skip


class Shop:
    """The shop's database, with what tasks need to plant their scenes.

    Args:
        seed: decides every row.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a demo's data, not a secret
        # Tools run in worker threads; they take turns on the one connection.
        self.db = sqlite3.connect(":memory:", check_same_thread=False)
        self.db.row_factory = sqlite3.Row
        self.db.executescript(_SCHEMA)
        self._last_order, self._last_ticket = 50100, 7000
        for number, family in enumerate(FAMILIES):
            self._add_family(number, family)
        for number in range(CUSTOMERS):
            self._add_customer(number)
        self.db.commit()

    def close(self) -> None:
        """Give the database back."""
        self.db.close()

    def all(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        return self.db.execute(sql, values).fetchall()

    def one(self, sql: str, *values: object) -> sqlite3.Row:
        """Return the first row of a query.

        Raises:
            LookupError: there is none.
        """
        row: sqlite3.Row | None = self.db.execute(sql, values).fetchone()
        if row is None:
            raise LookupError(f"nothing found for {values}")
        return row

    def add_order(
        self,
        customer_id: str,
        skus: list[tuple[str, int]],
        *,
        placed_on: date,
        status: str,
        promised_on: date | None = None,
        delivered_on: date | None = None,
    ) -> str:
        """Add an order and return its id; dates that are not given follow from `placed_on`."""
        self._last_order += self.random.randint(1, 9)
        order_id = f"O-{self._last_order}"
        home = self.one("select * from customers where id = ?", customer_id)
        shipped_on = placed_on + timedelta(days=1) if status in ("shipped", "delivered") else None
        promised_on = promised_on or placed_on + timedelta(days=5)
        if status == "delivered":
            delivered_on = delivered_on or placed_on + timedelta(days=self.random.randint(2, 5))
        carrier = self.random.choice(_CARRIERS)
        tracking = f"{carrier[:2].upper()}{self.random.randint(10**9, 10**10 - 1)}"
        lines = [
            (order_id, number, sku, quantity, self.product(sku)["price_cents"])
            for number, (sku, quantity) in enumerate(skus, start=1)
        ]
        self._add(
            "orders",
            (
                order_id, customer_id, placed_on.isoformat(), status, promised_on.isoformat(),
                shipped_on and shipped_on.isoformat(), delivered_on and delivered_on.isoformat(), carrier, tracking,
                home["street"], home["city"], home["postcode"], self.random.choice(_PAYMENTS),
                0 if sum(line[3] * line[4] for line in lines) >= 7500 else 590,
            ),
        )  # fmt: skip
        self.db.executemany("insert into order_lines values (?, ?, ?, ?, ?)", lines)
        return order_id

    def add_ticket(
        self,
        customer_id: str,
        subject: str,
        texts: list[tuple[str, str]],
        *,
        opened_on: date,
        order_id: str | None = None,
    ) -> None:
        """Add a closed ticket with its messages, each with its author."""
        self._last_ticket += self.random.randint(1, 5)
        ticket_id = f"T-{self._last_ticket}"
        row = (ticket_id, customer_id, order_id, opened_on.isoformat(), "closed", subject)
        self._add("tickets", row)
        for day, (author, text) in enumerate(texts):
            sent_on = (opened_on + timedelta(days=day)).isoformat()
            self._add("ticket_messages", (ticket_id, sent_on, author, text))

    def product(self, sku: str) -> sqlite3.Row:
        """Return a product's row."""
        return self.one("select * from products where sku = ?", sku)

    def order_cents(self, order_id: str) -> int:
        """Return what an order cost, shipping included."""
        return int(
            self.one(
                "select shipping_cents + (select sum(quantity * unit_cents) from order_lines where order_id = id) "
                "from orders where id = ?",
                order_id,
            )[0]
        )

    def _add(self, table: str, row: tuple[object, ...]) -> None:
        self.db.execute(f"insert into {table} values ({','.join('?' * len(row))})", row)  # noqa: S608 - our own names

    def _add_family(self, number: int, family: Family) -> None:
        rating = round(self.random.uniform(3.6, 4.9), 1)
        for step, variant in enumerate(family.variants):
            sku = f"{family.category[:3].upper()}-{number + 10}{step + 1:02d}"
            row = (
                sku, family.name, variant, f"{family.name}, {variant}", family.brand, family.category,
                family.price_cents + step * family.step_cents, self.random.randrange(200, 9000, 50),
                family.warranty_months, int(family.is_final_sale), rating, self.random.randint(12, 900), family.about,
            )  # fmt: skip
            self._add("products", row)
            for warehouse in WAREHOUSES:
                units = self.random.choice((0, 0, 2, 5, 11, 24))
                restock = None if units else (TODAY + timedelta(days=self.random.randint(6, 40))).isoformat()
                self._add("stock", (sku, warehouse, units, restock))
        # At least the first variant can always be had.
        self.db.execute(
            "update stock set units = 7, restock_on = null where sku like ? and warehouse = ?",
            (f"{family.category[:3].upper()}-{number + 10}01", WAREHOUSES[number % 4]),
        )

    def _add_customer(self, number: int) -> None:
        first, last = _FIRST[number % len(_FIRST)], _LAST[(number * 7 + number // len(_FIRST)) % len(_LAST)]
        city, postcode = self.random.choice(_CITIES)
        customer_id = f"C-{1040 + number * 3}"
        row = (
            customer_id, f"{first} {last}", f"{first}.{last}@example.org".lower(),
            f"+31 20 {self.random.randint(100, 999)} {self.random.randint(1000, 9999)}",
            f"{self.random.choice(_STREETS)} {self.random.randint(1, 180)}", city,
            f"{postcode}{self.random.randint(1, 9)}", "plus" if number % 6 == 5 else "standard",
            (TODAY - timedelta(days=self.random.randint(400, 2500))).isoformat(),
        )  # fmt: skip
        self._add("customers", row)
        for _ in range(self.random.randint(3, 5)):
            self._add_old_order(customer_id)
        for subject, question, answer in self.random.sample(_SUBJECTS, self.random.randint(1, 3)):
            texts = [("customer", question), ("agent", answer), ("customer", "Great, thank you for the quick help!")]
            opened_on = TODAY - timedelta(days=self.random.randint(20, 300))
            self.add_ticket(customer_id, subject, texts, opened_on=opened_on)

    def _add_old_order(self, customer_id: str) -> None:
        skus = [row["sku"] for row in self.all("select sku from products order by sku")]
        chosen = self.random.sample(skus, self.random.randint(1, 4))
        placed_on = TODAY - timedelta(days=self.random.randint(60, 420))
        lines = [(sku, self.random.choice((1, 1, 1, 2))) for sku in chosen]
        self.add_order(customer_id, lines, placed_on=placed_on, status="delivered")
