"""The parcels workload: a `FunctionAgent` traces parcels, customer after customer, each in one long conversation."""

from __future__ import annotations

import asyncio

from llama_index.core.agent.workflow import AgentOutput, FunctionAgent
from llama_index.core.llms.llm import LLM
from llama_index.core.memory import ChatMemoryBuffer
from thrift_core.demo import Outcome, Result, Setup, Workload

from llamaindex_thrift.costs import track_costs
from llamaindex_thrift.demo.open_ai import async_llm
from llamaindex_thrift.demo.parcels_brain import parcels_brain, report
from llamaindex_thrift.demo.parcels_data import depot, parcel

_CUSTOMERS = 3
_TURNS = 5
_PARCELS_PER_TURN = 2
_MOST_STEPS = 60
_MEMORY_TOKENS = 200_000
_RULES = (
    "You look after the parcels of Tern & Daughters. Name parcels, depots and claims by their numbers.",
    "Trace a parcel by its record, its scans and the driver's notes, then look up the depot that handles it.",
    "Open a claim for every parcel that is overdue, at the depot that handles it, and for no other parcel.",
    "Never promise a date. Never name a price. Never guess where a parcel is: say what the records say.",
)
_AREAS = "ABCDEFGHIJKLMNOPQRSTUVWX"
_RULE_OF_AREA = (
    "Depots of area {area} answer on weekdays from seven to seven; outside these hours leave a note on the record, "
    "mark it with the area's letter {area}, and tell the customer that somebody will read it in the morning."
)
# Longer than what providers cache at least.
HANDBOOK = "\n".join((*_RULES, *(_RULE_OF_AREA.format(area=area) for area in _AREAS)))


def get_parcel(parcel_id: str) -> str:
    """Return a parcel's record."""
    return parcel(parcel_id).record()


def get_scans(parcel_id: str) -> str:
    """Return the log of a parcel's scans."""
    return parcel(parcel_id).scans()


def get_notes(parcel_id: str) -> str:
    """Return the driver's notes of the round that a parcel was on."""
    return parcel(parcel_id).notes()


def get_depot(depot_id: str) -> str:
    """Return a depot's record."""
    return depot(depot_id)


def open_claim(parcel_id: str, depot_id: str) -> str:
    """Open a claim for an overdue parcel."""
    return f"Claim {parcel(parcel_id).claim} is open for {parcel_id} at {depot_id}."


TOOLS = (get_parcel, get_scans, get_notes, get_depot, open_claim)


def questions(customer: int, turns: int = _TURNS) -> list[str]:
    """Return what a customer asks, the last time about something that was read long before."""
    first = 1000 + 100 * customer
    ids = [f"PX-{first + number}" for number in range(turns * _PARCELS_PER_TURN)]
    asked = [
        f"Please trace {' and '.join(ids[at : at + _PARCELS_PER_TURN])}, and open a claim where one is due."
        for at in range(0, len(ids), _PARCELS_PER_TURN)
    ]
    return [*asked, f"Where did the driver leave {ids[0]}?"]


class Conversation:
    """One customer's conversation with the agent.

    Args:
        llm: the LLM that the agent asks.
        streaming: whether the agent streams.
    """

    def __init__(self, llm: LLM, *, streaming: bool = True) -> None:
        self._agent = FunctionAgent(tools=list(TOOLS), llm=llm, system_prompt=HANDBOOK, streaming=streaming)
        self.memory = ChatMemoryBuffer.from_defaults(token_limit=_MEMORY_TOKENS)

    async def ask(self, question: str) -> str:
        """Return the agent's answer to the next question."""
        output: AgentOutput = await self._agent.run(question, memory=self.memory, max_iterations=_MOST_STEPS)
        return str(output.response.content)


def run_parcels(setup: Setup) -> Result:
    """Let the agent serve every customer, each in a conversation of its own."""
    return asyncio.run(_serve(setup))


async def _serve(setup: Setup) -> Result:
    outcomes: list[Outcome] = []
    async with async_llm(setup) as llm:
        with track_costs(setup.ledger):
            for customer in range(_CUSTOMERS):
                conversation = Conversation(llm)
                for number, question in enumerate(questions(customer), start=1):
                    task = f"{customer + 1}-{number}"
                    with setup.working_on(task):
                        answer = await conversation.ask(question)
                    outcomes.append(setup.settle(task, answer, is_resolved=answer == report(question, str)))
    return Result(name=setup.workload, outcomes=tuple(outcomes))


WORKLOAD = Workload(
    name="parcels",
    about=f"a LlamaIndex agent with 5 tools over a carrier's records; {_CUSTOMERS} customers, {_TURNS + 1} turns each",
    tasks=_CUSTOMERS * (_TURNS + 1),
    brain=parcels_brain,
    run=run_parcels,
)
