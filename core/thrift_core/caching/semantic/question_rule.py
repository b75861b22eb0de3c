"""Which questions have no answer that lasts: requests to act, live and personal state, what is true only now."""

from __future__ import annotations

import re

_ACTIONS = (
    "cancel|book|reserve|order|buy|sell|pay|transfer|send|wire|refund|delete|remove|erase|block|unblock|freeze|"
    "unfreeze|"
    "activate|deactivate|enable|disable|subscribe|unsubscribe|schedule|reschedule|remind|call|text|email|message|turn|"
    "switch|play|pause|stop|skip|set|start|open|close|lock|unlock|renew|reset|upgrade|downgrade|submit|file|sign|register|"
    "enroll|invite|post|publish|deploy|restart|reboot|merge|approve|reject|withdraw|deposit|top|add|change|update|"
    "move|rename|share|upload|download|install|uninstall|report|replace|ship|return|track|check|confirm|dim|mute"
)
_POLITE = (
    r"(?:(?:hi|hello|hey|please|kindly|ok|okay|thanks)\b[\s,.!]*)*"
    r"(?:(?:can|could|would|will) you (?:please |kindly |now )?|please |kindly |i(?: want|'d like| would like|"
    r" need) you to |"
    r"go ahead and |let's |i(?: want|'d like| would like| need) to )?"
)
# An imperative acts on the world where it names whose thing, which thing, or an amount.
_OBJECT = (
    r"(?:\w+ ){0,2}?(?:my|our|this|that|these|those|it|me|us|him|her|them|all|everything|the|an?|\$|€|£|\d|to|"
    r"up|off|on|"
    r"down|in|out)\b"
)
_REQUEST = re.compile(rf"^\W*{_POLITE}(?:{_ACTIONS})\s+{_OBJECT}", re.IGNORECASE)
# "I want to change my plan" reports a wish, and asks how; only with a doer is it a request.
_WISH = re.compile(r"^\W*(?:i(?: want|'d like| would like| need) to )", re.IGNORECASE)
_HOW = re.compile(r"\b(?:how|why)\b", re.IGNORECASE)
_NOW = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|right now|at the moment|as of now|currently|this (?:morning|"
    r"afternoon|evening|"
    r"week|weekend|month)|(?:last|next) (?:week|month)|(?:what|which) (?:time|day|date) is it|(?:what(?:'s| is) the )"
    r"(?:time|date)\b|weather|forecast|(?:stock|share|exchange|bitcoin|gold) (?:price|rate)s?|"
    r"(?:latest|breaking|recent|current) (?:news|headlines|price|score|version|status|results?|rate|balance)|"
    r"live score|"
    r"traffic|is (?:it|the \w+) (?:down|open|up)\b(?! (?:to|for)))\b|\bnow\?*$",
    re.IGNORECASE,
)
_STATE = (
    "balance|order|orders|package|parcel|delivery|shipment|refund|payment|payments|transaction|transactions|statement|"
    "bill|invoice|appointment|appointments|meeting|meetings|calendar|schedule|booking|reservation|flight|ticket|claim|"
    "application|subscription|usage|quota|points|status|score|grades|results|account number|credit limit|salary|"
    "payslip|shopping list|to-?do list|reminders|alarms|inbox|emails|messages|device|location"
)
_MINE = re.compile(
    rf"\b(?:where(?:'s| is| are)|what(?:'s| is| are)|when (?:is|will|does)|"
    rf"how much(?: \w+){{0,3}} (?:is|are|do i have|in)|how many|show|list|check|read|has|have|is|are|did|was|"
    rf"when'?s|do i have|see)\b(?: \w+){{0,4}} (?:my|our) "
    rf"(?:\w+ ){{0,3}}(?:{_STATE})\b",
    re.IGNORECASE,
)
_OWN = re.compile(
    r"\b(?:how much (?:money )?do i (?:have|owe)|how much have i|do i (?:have|owe) (?:any|anything)|"
    r"am i (?:on|late|due)|what do i owe|who am i|where am i|what did i)\b|\b(?:is there|are there|any) (?:a |"
    r"an |any |new )?(?:\w+ )?"
    r"(?:meetings?|appointments?|messages?|emails?|notifications?|seats?|tickets? left)\b",
    re.IGNORECASE,
)
_GENERAL = re.compile(
    r"\bhow (?:do|can|could|would|to|should|long does it usually)\b|\bwhy\b|\bwhat happens\b", re.IGNORECASE
)


def live_question(question: str) -> str | None:
    """Return why no stored answer can serve a question, in a word or two; None if one may.

    It errs on the side of asking the model again. English only; in other languages it finds nothing.

    Example:
        >>> live_question("Cancel my order, please"), live_question("How do I cancel my order?")
        ('action request', None)
        >>> live_question("What is my balance?"), live_question("Is there a meeting today?")
        ('personal state', 'fresh state')
    """
    text = " ".join(question[:2000].replace("’", "'").split())
    is_general = _GENERAL.search(text) is not None
    if _REQUEST.match(text) and not _WISH.match(text) and not _HOW.search(text):
        return "action request"
    if _NOW.search(text):
        return "fresh state"
    if not is_general and (_MINE.search(text) or _OWN.search(text)):
        return "personal state"
    return None
