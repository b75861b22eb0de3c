"""Texts of each kind, made up here."""

from __future__ import annotations

import json
import random


def rows(count: int = 30) -> str:
    """Return a tool's JSON answer."""
    return json.dumps(
        [
            {
                "order_id": f"W{4_000_000 + 37 * n}",
                "customer": {"name": f"Customer {n}", "city": ["Oslo", "Lima", "Kyoto"][n % 3]},
                "status": "shipped" if n % 7 else "lost",
                "total": 12.5 * n,
                "notes": None,
            }
            for n in range(count)
        ],
        indent=2,
    )


def log(lines: int = 400, seed: int = 7) -> str:
    """Return a server's log: three usual kinds of lines, and two that come once."""
    chance = random.Random(seed)
    written: list[str] = []
    for n in range(lines):
        time = f"2026-03-{1 + n // 300:02d} {n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d},{chance.randrange(999):03d}"
        host = f"10.0.{chance.randrange(4)}.{chance.randrange(250)}"
        written.append(
            chance.choice(
                (
                    f"{time} INFO  [worker-{n % 8}] http.Server: GET /items/{n * 17} from {host} in {n % 90} ms",
                    f"{time} INFO  [worker-{n % 8}] http.Server: session opened for user user{chance.randrange(40)}",
                    f"{time} ERROR [worker-{n % 8}] db.Pool: connection to {host}:5432 refused after {n % 5} retries",
                )
            )
        )
    written.insert(lines // 2, "2026-03-01 00:03:20,001 WARN  [main] disk.Watch: /var is 91% full")
    written.insert(
        lines // 3, "2026-03-01 00:02:13,777 FATAL [main] app.Boot: certificate expired for shop.example.com"
    )
    return "\n".join(written)


PROSE = """The museum in Bergen opened on 14 May 1987 and was rebuilt after the fire of 2003. It is one of the places
that people in the town like to visit on a rainy day. Anna Lindqvist, who led the work, did not accept a salary for it.
The roof cost 4,250,000 kroner. It was said by many that this was a lot of money for a roof.

The collection holds 312 paintings, of which 40 are by Nikolai Astrup. "We will never sell a single one," the director
said in an interview. It is open every day from 10:00 to 18:00, except on Mondays. The tickets are to be had at the
door and also on the pages of the museum. The building is near the water and has a view of the mountains."""
