"""The tools of the demo's service agent over the shop's database; results are JSON, as verbose as in real services."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool

from langchain_thrift.demo.shop_catalog import REVIEWS
from langchain_thrift.demo.shop_data import TODAY, Shop

_IMAGES = "https://static.northbay.example/products"


def shop_tools(shop: Shop) -> list[BaseTool]:
    """Return the tools, in the order they are always sent."""
    service = ShopService(shop)
    return [
        _tool(work, service.lock)
        for work in (
            service.find_customer,
            service.list_orders,
            service.get_order,
            service.get_product,
            service.search_products,
            service.check_stock,
            service.shipping_quote,
            service.list_tickets,
            service.create_return,
            service.exchange_item,
            service.refund_order,
            service.change_address,
            service.add_note,
        )
    ]


class ShopService:
    """What the tools do; each method is one tool and its docstring is what the model reads."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.lock = threading.Lock()

    def find_customer(self, query: str) -> Any:
        """Find customers by e-mail address or by a part of their name. Returns up to five matches with their ids.

        Args:
            query: an e-mail address, or a part of a name.
        """
        rows = self._shop.all(
            "select * from customers where email = ? or name like ? order by id limit 5", query.lower(), f"%{query}%"
        )
        return {"query": query, "count": len(rows), "customers": [_customer(row) for row in rows]}

    def list_orders(self, customer_id: str) -> Any:
        """List all orders of a customer, newest first, with status and dates but without their lines.

        Args:
            customer_id: the customer's id, such as C-1040.
        """
        rows = self._shop.all(
            "select * from orders where customer_id = ? order by placed_on desc, id desc", customer_id
        )
        return {
            "customer_id": customer_id,
            "page": {"number": 1, "of": 1, "size": 50, "total": len(rows)},
            "orders": [self._order_summary(row) for row in rows],
        }

    def get_order(self, order_id: str) -> Any:
        """Open one order: lines with prices, addresses, payment, delivery events and totals.

        Args:
            order_id: the order's id, such as O-50123.
        """
        order = self._shop.one("select * from orders where id = ?", order_id)
        customer = self._shop.one("select * from customers where id = ?", order["customer_id"])
        address = {name: order[name] for name in ("street", "city", "postcode")}
        return {
            **self._order_summary(order),
            "customer": {name: customer[name] for name in ("id", "name", "email", "phone", "tier")},
            "shipping_address": {"name": customer["name"], **address, "country": "EU", "instructions": None},
            "billing_address": {
                "name": customer["name"],
                "street": customer["street"],
                "city": customer["city"],
                "postcode": customer["postcode"],
                "country": "EU",
                "vat_number": None,
            },
            "payment": {"method": order["payment"], "status": "settled", "dispute": None, "installments": None},
            "lines": self._lines(order_id),
            "events": _events(order),
            "flags": {"gift": False, "pickup": False, "fraud_check": "passed", "split_shipment": False},
        }

    def get_product(self, sku: str) -> Any:
        """Show one product: price, description, warranty, return rules and recent reviews.

        Args:
            sku: the stock-keeping unit, such as KIT-2001.
        """
        product = self._shop.product(sku)
        variants = self._shop.all("select * from products where family = ? order by sku", product["family"])
        first = sum(map(ord, sku)) % len(REVIEWS)
        return {
            **_product(product),
            "description": product["about"],
            "warranty_months": product["warranty_months"],
            "final_sale": bool(product["is_final_sale"]),
            "weight_grams": product["weight_grams"],
            "images": [f"{_IMAGES}/{sku.lower()}/{name}.webp" for name in ("front", "side", "detail", "in-use")],
            "seo": {"canonical": f"/p/{sku.lower()}", "robots": "index,follow", "breadcrumbs": [product["category"]]},
            "variants": [{"sku": row["sku"], "variant": row["variant"], "price": _money(row["price_cents"])}
                         for row in variants],
            "recent_reviews": [
                {"stars": 3 + (first + number) % 3, "verified": True, "text": REVIEWS[(first + number) % len(REVIEWS)]}
                for number in range(4)
            ],
        }  # fmt: skip

    def search_products(self, query: str, category: str | None = None) -> Any:
        """Search the catalogue by words in the name, or list a whole category with an empty query.

        Args:
            query: words that the product's name contains, or an empty text.
            category: electronics, outdoor, kitchen, home, bicycle or office; leave out for all.
        """
        rows = self._shop.all(
            "select * from products where name like ? and (? is null or category = ?) order by price_cents limit 20",
            f"%{query}%",
            category,
            category,
        )
        return {"query": query, "category": category, "total": len(rows), "products": [_product(row) for row in rows]}

    def check_stock(self, sku: str) -> Any:
        """Show how many units of a product each warehouse has, and when it is restocked.

        Args:
            sku: the stock-keeping unit, such as KIT-2001.
        """
        self._shop.product(sku)
        rows = self._shop.all("select * from stock where sku = ? order by warehouse", sku)
        return {
            "sku": sku,
            "total_units": sum(row["units"] for row in rows),
            "next_restock": min((row["restock_on"] for row in rows if row["restock_on"]), default=None),
            "warehouses": [
                {"warehouse": row["warehouse"], "units": row["units"], "reserved": 0, "restock_on": row["restock_on"]}
                for row in rows
            ],
            "as_of": f"{TODAY.isoformat()}T09:00:00Z",
        }

    def shipping_quote(self, sku: str, postcode: str) -> Any:
        """Quote what it costs to send one unit of a product to a postcode, and the price including shipping.

        Args:
            sku: the stock-keeping unit.
            postcode: where to.
        """
        product = self._shop.product(sku)
        shipping = 0 if product["price_cents"] >= 7500 else 590
        options = [
            ("standard", shipping, 4),
            ("express", shipping + 700, 1),
            ("pick-up point", max(0, shipping - 200), 4),
        ]
        return {
            "sku": sku,
            "postcode": postcode,
            "price": _money(product["price_cents"]),
            "total_with_standard_shipping": _money(product["price_cents"] + shipping),
            "options": [
                {"service": name, "cost": _money(cents), "days": days, "trackable": True}
                for name, cents, days in options
            ],
        }

    def list_tickets(self, customer_id: str) -> Any:
        """List a customer's earlier support tickets with all their messages.

        Args:
            customer_id: the customer's id.
        """
        rows = self._shop.all("select * from tickets where customer_id = ? order by opened_on desc", customer_id)
        return {"customer_id": customer_id, "tickets": [self._ticket(row) for row in rows]}

    def create_return(self, order_id: str, sku: str, reason: str, refund_amount: str) -> Any:
        """Register a return for one product of an order. The refund is paid when the goods have arrived.

        Args:
            order_id: the order.
            sku: the product to be sent back.
            reason: why, in a few words.
            refund_amount: what will be refunded, such as 12.50.
        """
        line = self._line(order_id, sku)
        cents = _cents(refund_amount)
        if self._shop.all("select 1 from returns where order_id = ? and sku = ?", order_id, sku):
            raise ValueError(f"a return for {sku} in {order_id} is registered already")
        if cents > line["quantity"] * line["unit_cents"] + 590:
            raise ValueError("the refund is more than was paid")
        return_id = f"R-{order_id[2:]}-{line['line']}"
        self._write("insert into returns values (?, ?, ?, ?, ?)", return_id, order_id, sku, reason, cents)
        return {
            "return_id": return_id,
            "order_id": order_id,
            "sku": sku,
            "refund_amount": _money(cents),
            "label_url": f"https://returns.northbay.example/{return_id}.pdf",
            "send_before": (TODAY + timedelta(days=14)).isoformat(),
        }

    def exchange_item(self, order_id: str, sku: str, new_sku: str) -> Any:
        """Exchange one product of an order for another variant of it, or for a new one of the same under warranty.

        Args:
            order_id: the order.
            sku: the product the customer has.
            new_sku: the product the customer gets.
        """
        line = self._line(order_id, sku)
        old, new = self._shop.product(sku), self._shop.product(new_sku)
        if old["family"] != new["family"]:
            raise ValueError(f"{new_sku} is not a variant of the same product")
        if not self._shop.one("select sum(units) from stock where sku = ?", new_sku)[0]:
            raise ValueError(f"{new_sku} is out of stock")
        difference = new["price_cents"] - line["unit_cents"] if sku != new_sku else 0
        exchange_id = f"X-{order_id[2:]}-{line['line']}"
        self._write("insert into exchanges values (?, ?, ?, ?, ?)", exchange_id, order_id, sku, new_sku, difference)
        return {"exchange_id": exchange_id, "price_difference": _money(difference), "ships_on": TODAY.isoformat()}

    def refund_order(self, order_id: str, amount: str, reason: str) -> Any:
        """Refund an amount on an order at once, without a return.

        Args:
            order_id: the order.
            amount: how much, such as 12.50.
            reason: why, in a few words.
        """
        self._shop.one("select 1 from orders where id = ?", order_id)
        if self._shop.all("select 1 from refunds where order_id = ?", order_id):
            raise ValueError(f"{order_id} has a refund already")
        refund_id = f"F-{order_id[2:]}"
        self._write("insert into refunds values (?, ?, ?, ?)", refund_id, order_id, _cents(amount), reason)
        return {"refund_id": refund_id, "order_id": order_id, "amount": _money(_cents(amount)), "status": "queued"}

    def change_address(self, order_id: str, street: str, city: str, postcode: str) -> Any:
        """Change where an order is sent to. Works only while the order is processing.

        Args:
            order_id: the order.
            street: street and number.
            city: the city.
            postcode: the postcode.
        """
        order = self._shop.one("select * from orders where id = ?", order_id)
        if order["status"] != "processing":
            raise ValueError(f"{order_id} is {order['status']}, its address cannot be changed")
        values = (street, city, postcode, order_id)
        self._write("update orders set street = ?, city = ?, postcode = ? where id = ?", *values)
        return {"order_id": order_id, "shipping_address": {"street": street, "city": city, "postcode": postcode}}

    def add_note(self, customer_id: str, text: str) -> Any:
        """Leave a note with a customer for the colleagues.

        Args:
            customer_id: the customer's id.
            text: one sentence: what was done and why.
        """
        self._shop.one("select 1 from customers where id = ?", customer_id)
        self._write("insert into notes values (?, ?)", customer_id, text)
        return {"customer_id": customer_id, "saved": True}

    def _write(self, sql: str, *values: object) -> None:
        self._shop.db.execute(sql, values)
        self._shop.db.commit()

    def _line(self, order_id: str, sku: str) -> sqlite3.Row:
        return self._shop.one("select * from order_lines where order_id = ? and sku = ?", order_id, sku)

    def _order_summary(self, order: sqlite3.Row) -> dict[str, Any]:
        count = self._shop.one("select sum(quantity) from order_lines where order_id = ?", order["id"])[0]
        return {
            "order_id": order["id"],
            "status": order["status"],
            "placed_on": order["placed_on"],
            "promised_on": order["promised_on"],
            "shipped_on": order["shipped_on"],
            "delivered_on": order["delivered_on"],
            "carrier": order["carrier"],
            "tracking_number": order["tracking"],
            "items": count,
            "shipping_cost": _money(order["shipping_cents"]),
            "total": _money(self._shop.order_cents(order["id"])),
            "currency": "EUR",
            "channel": "web",
        }

    def _lines(self, order_id: str) -> list[dict[str, Any]]:
        rows = self._shop.all(
            "select * from order_lines join products using (sku) where order_id = ? order by line", order_id
        )
        return [
            {
                "line": row["line"],
                "sku": row["sku"],
                "name": row["name"],
                "brand": row["brand"],
                "category": row["category"],
                "quantity": row["quantity"],
                "unit_price": _money(row["unit_cents"]),
                "line_total": _money(row["quantity"] * row["unit_cents"]),
                "tax_rate": "0.21",
                "discount": None,
                "image": f"{_IMAGES}/{row['sku'].lower()}/front.webp",
            }
            for row in rows
        ]

    def _ticket(self, ticket: sqlite3.Row) -> dict[str, Any]:
        messages = self._shop.all("select * from ticket_messages where ticket_id = ? order by sent_on", ticket["id"])
        return {
            "ticket_id": ticket["id"],
            "order_id": ticket["order_id"],
            "opened_on": ticket["opened_on"],
            "status": ticket["status"],
            "subject": ticket["subject"],
            "priority": "normal",
            "messages": [{name: row[name] for name in ("sent_on", "author", "text")} for row in messages],
        }


def _tool(work: Callable[..., Any], lock: threading.Lock) -> BaseTool:
    """Return a method as a tool that answers JSON, errors included, and never runs beside another."""
    tool = StructuredTool.from_function(work, parse_docstring=True)

    def answer(**arguments: Any) -> str:
        with lock:
            try:
                result = work(**arguments)
            except (LookupError, ValueError) as error:
                result = {"error": str(error)}
        return json.dumps(result, ensure_ascii=False)

    tool.func = answer
    return tool


def _customer(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "email": row["email"],
        "phone": row["phone"],
        "tier": row["tier"],
        "customer_since": row["since"],
        "address": {"street": row["street"], "city": row["city"], "postcode": row["postcode"], "country": "EU"},
        "marketing": {"newsletter": True, "sms": False, "post": False},
        "locale": "en",
    }


def _product(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "sku": row["sku"],
        "name": row["name"],
        "brand": row["brand"],
        "category": row["category"],
        "variant": row["variant"],
        "price": _money(row["price_cents"]),
        "rating": row["rating"],
        "review_count": row["reviews"],
        "url": f"https://www.northbay.example/p/{row['sku'].lower()}",
    }


def _events(order: sqlite3.Row) -> list[dict[str, Any]]:
    placed = date.fromisoformat(order["placed_on"])
    steps = [(placed, "order received", "web"), (placed, "payment confirmed", "payments")]
    if order["shipped_on"]:
        shipped = date.fromisoformat(order["shipped_on"])
        steps += [(shipped, "picked and packed", "warehouse"), (shipped, f"handed to {order['carrier']}", "warehouse")]
        steps += [(shipped + timedelta(days=1), "arrived at the sorting centre", order["carrier"])]
    if order["delivered_on"]:
        delivered = date.fromisoformat(order["delivered_on"])
        steps += [(delivered, "out for delivery", order["carrier"]), (delivered, "delivered", order["carrier"])]
    return [
        {"at": f"{day.isoformat()}T{8 + number:02d}:15:00Z", "event": what, "source": source, "location": None}
        for number, (day, what, source) in enumerate(steps)
    ]


def _money(cents: int) -> str:
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def _cents(amount: str) -> int:
    whole, _, rest = amount.strip().partition(".")
    if not (whole.isdigit() and (rest or "0").isdigit() and len(rest) <= 2):
        raise ValueError(f"an amount must look like 12.50; got {amount!r}")
    return int(whole) * 100 + int(rest.ljust(2, "0"))
