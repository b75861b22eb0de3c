"""One conversation as the summarizer follows it, message by message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from thrift_core.messages import Message
from thrift_core.recall.store import RecallStore
from thrift_core.recall.tool import RECALL
from thrift_core.trajectory import blocks, collapse, llm_summary, view_once
from thrift_core.trajectory.bill import Bill
from thrift_core.trajectory.edits import KnownEdits
from thrift_core.trajectory.entry import NEEDS_NOTHING, Count, Entry, NotKept, State, entry_of
from thrift_core.trajectory.llm_summary import Summaries
from thrift_core.trajectory.results import MARK, Results
from thrift_core.trajectory.units import Units
from thrift_core.trajectory.words import Sightings, argument_words, naming_words

# A request that is shortened to just above the provider's minimum could fall below it by a different token count.
_MARGIN = 1.08
# A word may stand in very many places; the newest ones decide whether it can still be read.
_PLACES_TRIED = 8
_LONGEST_HEAD = 80


@dataclass(slots=True)
class Thread:
    """The state of one conversation: a function of its messages, the prices and the settings alone.

    Work is done once for each message (`advance`) and once for each call of the model (`call`). A call is known to
    have been made where an assistant message follows, so that a thread begun anew on a long history comes to the same
    state as one that saw it grow.

    Attributes:
        count: counts tokens.
        bill: what the conversation cost so far, with and without edits.
        store: where what is cut goes; None for the mode in which nothing is cut.
        entries: the messages with what is sent in their place.
        live: where the part that was not collapsed begins.
        head: where the part that is never touched ends: system messages and the task.
        summaries: summaries by a model; None where none is to write any.
    """

    count: Count
    bill: Bill
    store: RecallStore | None = None
    summaries: Summaries | None = None
    entries: list[Entry] = field(default_factory=list[Entry])
    live: int = 0
    head: int = 0
    raw_tokens: int = 0
    sent_tokens: int = 0
    already_sent: int = 0
    seen: Sightings = field(default_factory=Sightings)
    needed_by: Counter[str] = field(default_factory=Counter[str])
    results: Results = field(init=False)
    blocks: list[int] = field(default_factory=list[int])
    last_user: int = -1
    may_rewrite: bool = True
    _messages: list[Message] = field(default_factory=list[Message])
    units: Units = field(default_factory=Units)
    first_change: int = NEEDS_NOTHING
    first_new: int = 0
    rewritten_tokens: int = 0
    changed: dict[int, None] = field(default_factory=dict[int, None])
    spans: dict[int, int] = field(default_factory=dict[int, int])
    known_edits: KnownEdits = field(default_factory=KnownEdits)
    follows_a_foreign_cut: bool = False
    sent_before: int = 0
    faults: list[Exception] = field(default_factory=list[Exception])

    def __post_init__(self) -> None:
        self.may_rewrite = self.may_rewrite and self.store is not None
        self.results = Results(self.count)

    def advance(self, messages: Sequence[Message]) -> None:
        """Take in messages that follow those seen so far."""
        for message in messages:
            if message.role == "assistant" and self.entries:
                self.call()
            self._take(message)

    def __len__(self) -> int:
        return len(self.entries)

    def is_prefix_of(self, messages: Sequence[Message]) -> bool:
        """Say whether a conversation begins with the messages seen so far."""
        seen = len(self.entries)
        if seen > len(messages):
            return False
        is_settled = self.may_rewrite and seen and self.already_sent == seen
        if is_settled and seen < len(messages) and messages[seen].role != "assistant":
            # A call was settled here that a thread begun anew would not know of.
            return False
        # Lists compare in C, and by identity first: 2,000 messages that are the same objects take microseconds.
        return self._messages == list(messages[:seen])

    @property
    def is_inside_a_call(self) -> bool:
        """Whether results of the last call are missing, and an id of it was used before, in messages now dropped."""
        return self.live > self.head and self.units.reuses_an_id

    def without_cuts(self) -> Thread:
        """Return the thread as it would be in the mode that changes nothing sent."""
        bill = Bill(self.bill.rates, self.bill.static_tokens, self.bill.minimum_cached)
        thread = Thread(self.count, bill, self.store, may_rewrite=False)
        thread.advance(self._messages)
        return thread

    def call(self) -> None:
        """Settle what is sent at the call that is about to be made; done once, however often it is asked."""
        if self.already_sent == len(self.entries):
            return
        self.first_change = NEEDS_NOTHING
        self.first_new = self.already_sent
        if self.may_rewrite:
            self._rewrite()
        unchanged = self.sent_before
        if self.first_change < self.already_sent:
            unchanged = self.tokens_before(self.first_change)
        self.rewritten_tokens = self.sent_before - unchanged if self.bill.calls else 0
        self.bill.charge(raw_tokens=self.raw_tokens, sent_tokens=self.sent_tokens, unchanged_tokens=unchanged)
        self.already_sent = len(self.entries)
        self.sent_before = self.sent_tokens

    def tokens_before(self, index: int) -> int:
        """Return what the messages before one come to as sent, counted from whichever end is nearer."""
        if 2 * index <= len(self.entries):
            return sum(entry.tokens for entry in self.entries[:index])
        return self.sent_tokens - sum(entry.tokens for entry in self.entries[index:])

    def change(self, index: int, state: State, text: str = "", how: str = "") -> None:
        """Send another text for a message from now on, or (`raw`) what it is."""
        entry = self.entries[index]
        tokens = entry.raw_tokens
        if state != "raw":
            tokens += self.count(text) - entry.text_tokens
        self.sent_tokens += tokens - entry.tokens
        entry.tokens, entry.state, entry.text, entry.how = tokens, state, text, how
        self.first_change = min(self.first_change, index)
        self._note(index)

    def drop(self, start: int, stop: int, how: str) -> None:
        """Send messages `start` up to `stop` no more."""
        for index in range(start, stop):
            entry = self.entries[index]
            self.sent_tokens -= entry.tokens
            entry.tokens, entry.state, entry.text, entry.how = 0, "dropped", "", how
            self._unsettle(index)
            self.changed.pop(index, None)
        if start < stop:
            self.spans[start] = stop
            self.changed[start] = None
            self.first_change = min(self.first_change, start)

    def release(self, entry: Entry) -> None:
        """Note that a result no longer refers to earlier ones."""
        self.needed_by.subtract(entry.refers_to)
        entry.refers_to = frozenset()

    def write_again(self, start: int, carrier: int | None = None) -> None:
        """Shorten the results from `start` on anew, for what they referred to is gone.

        Args:
            start: the first message behind the block.
            carrier: the result that holds the block, if one does: it is counted by references as well.
        """
        self.results = Results(self.count)
        self.needed_by = Counter()
        if carrier is not None and self.entries[carrier].message.role == "tool":
            self._absorb(self.entries[carrier])
        for index in range(start, len(self.entries)):
            entry = self.entries[index]
            if entry.message.role == "tool" and entry.state in ("raw", "short"):
                before = entry.state, entry.text
                self.sent_tokens += entry.raw_tokens - entry.tokens
                entry.tokens, entry.state, entry.text, entry.refers_to = entry.raw_tokens, "raw", "", frozenset()
                self._shorten(entry)
                self.sent_tokens += entry.tokens - entry.raw_tokens
                if (entry.state, entry.text) != before:
                    self.first_change = min(self.first_change, index)
                self._note(index)
            elif entry.state == "stub":
                # Whoever counts a tool's results from the block on counts this one, too.
                self._absorb(entry)

    def is_visible(self, word: str, start: int, stop: int) -> bool:
        """Say whether a word can be read in the request outside messages `start` up to `stop`."""
        for place in self.seen.places(word)[-_PLACES_TRIED:]:
            if not start <= place < stop and self.entries[place].is_readable:
                return True
        if any(word in blocks.lasting(self.entries[block].text) for block in self.blocks):
            return True
        summaries = self.summaries.blocks if self.summaries is not None else ()
        return any(word in self.entries[block].text for block in summaries)

    def keep(self, text: str) -> str:
        """Put a text into the recall store and return its handle.

        Raises:
            NotKept: it cannot be kept, so it must not be cut.
        """
        try:
            return self.store.put(text) if self.store is not None else ""
        except Exception as error:
            self.faults.append(error)
            raise NotKept(str(error)) from error

    def recall(self, handle: str) -> str | None:
        """Return a text from the recall store, None if it is not there or the store cannot be reached."""
        try:
            return self.store.get(handle) if self.store is not None else None
        except Exception as error:
            self.faults.append(error)
            return None

    def may_be_cut_to(self, tokens: int) -> bool:
        """Say whether a request of so many message tokens is no shorter than the provider's cache takes.

        Where the request as it is would be too short as well, any length will do: it can be taken back for nothing.
        """
        return self.tokens_to_stay_cached(tokens) <= 0

    def tokens_to_stay_cached(self, tokens: int) -> int:
        """Return how many tokens a request lacks to be taken by the provider's cache; 0 or less for none."""
        if not self.bill.is_cached(self.raw_tokens):
            return 0
        return self.bill.missing(tokens, _MARGIN)

    def _rewrite(self) -> None:
        if not self.bill.is_cached(self.sent_tokens) and self.bill.is_cached(self.raw_tokens):
            self._restore_if_cheaper()
            return
        try:
            view_once.apply(self)
            if self.bill.calls >= collapse.FEWEST_CALLS:
                collapse.apply(self)
            llm_summary.apply(self)
        except NotKept:
            # What was cut before stays cut; at the next call it is tried again.
            return

    def _unsettle(self, index: int) -> None:
        """Let edits be made anew from that of a message on, if it has one; changes are mostly to the newest."""
        if index not in self.changed:
            return
        place = next(at for at, other in enumerate(reversed(self.changed), 1) if other == index)
        del self.known_edits.settled[max(0, len(self.changed) - place) :]

    def _note(self, index: int) -> None:
        self._unsettle(index)
        if self.entries[index].state == "raw":
            self.changed.pop(index, None)
        else:
            self.changed[index] = None

    def _restore_if_cheaper(self) -> None:
        """Send everything as it is where that is long enough for the cache and what we would send is not.

        Below the provider's minimum nothing is cached, so changing it back costs nothing either.
        """
        rates, static = self.bill.rates, self.bill.static_tokens
        if rates.read * (static + self.raw_tokens) >= rates.write * (static + self.sent_tokens):
            return
        self._take_everything_back()

    def _take_everything_back(self) -> None:
        self.results = Results(self.count)
        self.needed_by = Counter()
        self.spans.clear()
        self.blocks.clear()
        if self.summaries is not None:
            self.summaries.blocks.clear()
            self.summaries.give_up(self.raw_tokens)
        self.live = self.head
        for index, entry in enumerate(self.entries):
            entry.refers_to = frozenset()
            if entry.state != "raw":
                self.change(index, "raw")
            if entry.message.role == "tool":
                self._absorb(entry)

    def _take(self, message: Message) -> None:
        index = len(self.entries)
        entry = entry_of(message, self.units.tool_of(message), self.count)
        self.entries.append(entry)
        self._messages.append(message)
        if self.units.add(self.entries) and self.may_rewrite and self.live > self.head:
            self._give_up_rewriting()
            return
        if message.role == "tool":
            self._shorten(entry)
            self._note(index)
        self.raw_tokens += entry.raw_tokens
        self.sent_tokens += entry.tokens
        if self.store is not None:
            self._look(index, entry)

    def _look(self, index: int, entry: Entry) -> None:
        message = entry.message
        if self.results.has_absorbed or self._was_cut(message.text):
            self._leave_as_it_is(index)
        if message.role == "user":
            self.last_user = index
            if not self.head:
                self.head = self.live = index + 1
        if any(block.kind == "thinking" for block in message.opaque):
            self.may_rewrite = False
        words = [word for call in message.tool_calls for word in argument_words(call.arguments)]
        for word in words:
            source = self.seen.last(word)
            if source is not None and source >= self.head:
                entry.earliest_needed = min(entry.earliest_needed, source)
        self.seen.add(index, words)
        self.seen.add(index, naming_words(message.text))

    def _was_cut(self, text: str) -> bool:
        if not text.startswith((blocks.HEAD, view_once.HEAD)):
            return False
        handle = text[:_LONGEST_HEAD].partition("recall ")[2].split()[0:1]
        known = len(self.faults)
        # Where the store does not answer, it may well be there.
        return bool(handle) and (self.recall(handle[0].rstrip(":")) is not None or len(self.faults) > known)

    def _leave_as_it_is(self, index: int) -> None:
        """Cut no more once a message comes in that was shortened before, and leave all before it as it came.

        What was cut there is not known here, and what was not, was left whole for a reason.
        """
        self.may_rewrite = False
        if self.changed:
            self._take_everything_back()
        self.results.has_absorbed = False
        text = self.entries[index].message.text
        self.follows_a_foreign_cut |= text.startswith(view_once.HEAD)
        if text.startswith(blocks.HEAD):
            self.results = Results(self.count)
            self.follows_a_foreign_cut = False

    def _give_up_rewriting(self) -> None:
        """Start over in the mode that changes nothing sent: an id of a call that was dropped has come up again."""
        fresh, faults = self.without_cuts(), self.faults
        fresh.faults = faults
        for item in fields(self):
            setattr(self, item.name, getattr(fresh, item.name))

    def _shorten(self, entry: Entry) -> None:
        message = entry.message
        if message.opaque or message.text.startswith(MARK):
            self._absorb(entry)
            return
        tokens = entry.text_tokens
        is_asked_for = self.store is not None and entry.tool == RECALL
        is_open = not is_asked_for and self._may_shorten(entry)
        shortened = self.results.shorten(entry.tool, message.text, tokens) if is_open else None
        is_used = shortened is not None and self._stays_cached(entry.raw_tokens - tokens + shortened.tokens)
        entry.name = self.results.learn(entry.tool, message.text, is_shortened=is_used)
        if shortened is not None and is_used:
            entry.state, entry.text, entry.how = "short", shortened.text, shortened.how
            entry.tokens = entry.raw_tokens - tokens + shortened.tokens
            entry.refers_to = shortened.refers_to
            self.needed_by.update(shortened.refers_to)

    def _absorb(self, entry: Entry) -> None:
        """Learn from a result as it is sent; it may refer to others without our doing."""
        entry.name, entry.refers_to = self.results.absorb(entry.tool, entry.sent_text)
        self.needed_by.update(entry.refers_to)

    def _may_shorten(self, entry: Entry) -> bool:
        """Say whether a result may be written otherwise: any, unless one before it was cut before it came here.

        Then this one may have come along, and been left as it is for what it could refer to at that time. That is not
        known here; but what is shorter all by itself, and leaves the request long enough, would not have been left.
        """
        if not self.follows_a_foreign_cut:
            return True
        tokens = entry.text_tokens
        is_shorter_alone = Results(self.count).shorten(entry.tool, entry.message.text, tokens) is not None
        return is_shorter_alone and self._stays_cached(entry.raw_tokens - tokens)

    def _stays_cached(self, tokens: int) -> bool:
        """Say whether shortening leaves the request long enough for the cache, or can be taken back for nothing."""
        return self.may_rewrite or self.bill.missing(self.sent_tokens + tokens, _MARGIN) <= 0
