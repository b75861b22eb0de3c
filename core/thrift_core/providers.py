"""Which provider a name or an address means, in the ids of genai-prices.

Frameworks, gateways and clients each spell providers their own way; the price list, the ledger and the reports use one
spelling, that of genai-prices (`openai`, `anthropic`, `google`, `aws`, `x-ai`...).
"""

from __future__ import annotations

import re
from functools import lru_cache

_NOT_A_LETTER = re.compile(r"[^a-z0-9]+")

# Spelled without punctuation and without the words "llm" and "chat", see `_squeezed`. The names are those that
# clients report for themselves: class names, tracing attributes, and the prefixes that gateways put before a model.
_ALIASES = {
    "anthropicvertex": "google",
    "azureai": "azure",
    "azureaicompletionsmodel": "azure",
    "azureinference": "azure",
    "azureopenai": "azure",
    "amazon": "aws",
    "amazonbedrock": "aws",
    "awsbedrock": "aws",
    "bedrock": "aws",
    "bedrockconverse": "aws",
    "bedrockruntime": "aws",
    "anthropicbedrock": "aws",
    "codestral": "mistral",
    "fireworksai": "fireworks",
    "gemini": "google",
    "genai": "google",
    "googleai": "google",
    "googleanthropicvertex": "google",
    "googlegemini": "google",
    "googlegenai": "google",
    "googlegenerativeai": "google",
    "googlegla": "google",
    "googlevertex": "google",
    "googlevertexai": "google",
    "vertex": "google",
    "vertexai": "google",
    "vertexaibeta": "google",
    "grok": "x-ai",
    "xai": "x-ai",
    "kimi": "moonshotai",
    "moonshot": "moonshotai",
    "mistralai": "mistral",
    "openairesponses": "openai",
    "openaicompletion": "openai",
    "textcompletionopenai": "openai",
    "perplexityai": "perplexity",
    "togetherai": "together",
    "voyage": "voyageai",
    "zhipu": "zhipuai",
    "zaiglm": "zai",
}

_BEDROCK_NAME = re.compile(
    r"(?:(?:us|eu|apac|jp|au|ca|global)\.)?"
    r"(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshot|nvidia|openai|qwen|writer|zai)\.[a-z]"
)
# Bedrock's runtimes and its OpenAI-like endpoint (`bedrock-mantle.REGION.api.aws`), which the price list does not have.
_BEDROCK_ADDRESS = re.compile(r"https?://bedrock-[a-z]+\.[a-z0-9-]+\.(?:amazonaws\.com|api\.aws)(?:[:/]|$)")
_OPENAI_ONLY = re.compile(r"text-embedding-(?:3-|ada-)|computer-use-preview")


def provider_id(name: str | None) -> str | None:
    """Return the genai-prices id of a provider's name, class name or API address.

    A name that the price list does not know comes back in lower case, so that an override file can still price it and a
    report can still name it. It is never taken for a provider that merely resembles it: a server that only speaks
    OpenAI's protocol (`OpenAILike`, `ollama`, `vllm`) does not charge OpenAI's prices.

    Args:
        name: such as `google_genai`, `Bedrock_Converse_LLM` or `https://api.groq.com/openai/v1`.

    Returns:
        The id, or None for None, for an empty name and for an address that belongs to no known provider.
    """
    if not name or not name.strip():
        return None
    if "://" in name:
        return _of_address(name.strip())
    return _of_name(name)


@lru_cache(maxsize=1024)
def maker_of(model: str) -> str | None:
    """Return the provider that a model's name alone points to, None where it points to nobody or to several.

    Open models (`gpt-oss`, `glm`) and the names of gateways (`vendor/model:free`) are served by several, each at its
    own price.
    """
    name = model.strip().lower()
    if _BEDROCK_NAME.match(name):
        return "aws"
    if name.startswith("ft:gpt-"):
        return "openai"
    if "gpt-oss" in name or name.startswith("glm-") or ":" in name:
        return None
    if _OPENAI_ONLY.match(name):
        return "openai"
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - loads the price list

    try:
        return get_snapshot().find_provider(name, None, None).id
    except LookupError:
        return None


@lru_cache(maxsize=1024)
def _of_name(name: str) -> str:
    plain = name.strip().lower()
    squeezed = _squeezed(plain)
    known = _known_ids()
    return known.get(plain) or _ALIASES.get(squeezed) or known.get(squeezed, plain)


@lru_cache(maxsize=1024)
def _of_address(address: str) -> str | None:
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - loads the price list

    for provider in get_snapshot().providers:
        if re.match(provider.api_pattern, address):
            return provider.id
    return "aws" if _BEDROCK_ADDRESS.match(address) else None


@lru_cache(maxsize=1)
def _known_ids() -> dict[str, str]:
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - loads the price list

    ids = [provider.id for provider in get_snapshot().providers]
    return {_squeezed(id_): id_ for id_ in ids} | {id_: id_ for id_ in ids}


def _squeezed(name: str) -> str:
    squeezed = _NOT_A_LETTER.sub("", name).removesuffix("llm").removeprefix("chat")
    return squeezed or name
