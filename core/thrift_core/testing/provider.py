"""A local provider that speaks the OpenAI and Anthropic APIs over real HTTP, so that real clients can be run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from thrift_core.testing.anthropic_messages import AnthropicMessages
from thrift_core.testing.bill import Bill, BilledCall, RateCard
from thrift_core.testing.chat import ApiError, Brain, ChatRequest
from thrift_core.testing.dialect import Dialect, Generation, openai_error
from thrift_core.testing.embeddings import PATH as EMBEDDINGS_PATH
from thrift_core.testing.embeddings import embeddings_body
from thrift_core.testing.faults import Fault, FaultQueue
from thrift_core.testing.generation import Generator
from thrift_core.testing.http import Prepared, Server
from thrift_core.testing.json_values import Json, as_text
from thrift_core.testing.openai_chat import OpenAIChat
from thrift_core.testing.openai_responses import OpenAIResponses
from thrift_core.testing.prefix_cache import PrefixCache
from thrift_core.testing.prompt_tokens import PromptTokens, Tokenizer, default_tokenizer

_MODELS_PATH = "/v1/models"
_KEPT_REQUESTS = 1000


class LocalProvider:
    """Serves a brain on a free port of this machine while the `with` block runs.

    It answers `/v1/chat/completions`, `/v1/responses`, `/v1/messages`, `/v1/embeddings` and `/v1/models`, streaming
    where asked to, counts tokens, applies OpenAI's prompt-cache rule and keeps its own bill.

    Args:
        brain: answers requests; a plain function from `ChatRequest` to `Reply`. Called from many threads at once.
        rates: what tokens cost: one card for every model, or cards by model; a model without one is then unknown.
        cache: the prompt cache; None for one that keeps entries for 5 minutes.
        tokenizer: splits text into tokens; None for tiktoken's `o200k_base` if it is on disk.

    Attributes:
        bill: what the provider charged.
        requests: the latest 1,000 requests, in the order they were answered.

    Example:
        >>> from thrift_core.testing import LocalProvider, Reply
        >>> with LocalProvider(lambda request: Reply(text="Paris")) as provider:
        ...     provider.base_url.startswith("http://127.0.0.1:")
        True
    """

    def __init__(
        self,
        brain: Brain,
        rates: RateCard | Mapping[str, RateCard] | None = None,
        *,
        cache: PrefixCache | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.bill = Bill()
        self.requests: deque[ChatRequest] = deque(maxlen=_KEPT_REQUESTS)
        self.closing = threading.Event()
        self._rates = rates
        self._tokens = PromptTokens(tokenizer or default_tokenizer())
        self._generator = Generator(brain, self._tokens, cache or PrefixCache())
        self._faults = FaultQueue()
        dialects: tuple[Dialect, ...] = (OpenAIChat(), OpenAIResponses(), AnthropicMessages())
        self._dialects = {dialect.path: dialect for dialect in dialects}
        self._server: Server | None = None

    @property
    def root_url(self) -> str:
        """Where the provider listens, without a path; what Anthropic's clients take as base URL.

        Raises:
            RuntimeError: the provider is not running.
        """
        if self._server is None:
            raise RuntimeError("the provider is not running: use it in a with block")
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def base_url(self) -> str:
        """What OpenAI's clients take as base URL."""
        return f"{self.root_url}/v1"

    def inject(self, *faults: Fault) -> None:
        """Let the next requests meet these faults, one each; `/v1/models` meets none."""
        self._faults.put(*faults)

    def start(self) -> Self:
        """Listen until `close`."""
        if self._server is not None:
            raise RuntimeError("the provider is running already")
        self.closing.clear()
        self._server = Server(self)
        serve = {"poll_interval": 0.05}  # how long closing may take
        threading.Thread(
            target=self._server.serve_forever, kwargs=serve, name="thrift-local-provider", daemon=True
        ).start()
        return self

    def close(self) -> None:
        """Stop listening and break off what hangs."""
        self.closing.set()
        if self._server is not None:
            self._server.close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fault(self, path: str) -> Fault | None:
        """Return the fault that this request meets."""
        return None if path.startswith(_MODELS_PATH) else self._faults.take()

    def get(self, path: str) -> Json:
        """Answer `/v1/models` and `/v1/models/NAME`."""
        names = list(self._rates) if isinstance(self._rates, Mapping) else ["local"]
        models = {f"{_MODELS_PATH}/{name}": _model(name) for name in names}
        if path == _MODELS_PATH:
            return {"object": "list", "data": list(models.values())}
        if path not in models:
            raise _unknown_url("GET", path)
        return models[path]

    def post(self, path: str, body: Mapping[str, Any], api_key: str) -> Prepared:
        """Answer a request for a generation or for embeddings."""
        if path == EMBEDDINGS_PATH:
            return _Ready(embeddings_body(body, self._tokens.count))
        dialect = self._dialects.get(path)
        if dialect is None:
            raise _unknown_url("POST", path)
        rates = self._rates_of(as_text(body.get("model")))
        request = dialect.read(body, api_key)
        if not request.messages:
            raise ApiError(400, "Invalid 'messages': empty array.", code="empty_array", param="messages")
        generation = self._generator.generate(request)
        self.requests.append(request)
        self._charge(dialect, generation, rates)
        return _Written(dialect, generation)

    def error(self, path: str, error: ApiError) -> Json:
        """Return a refusal in the words of the path's API."""
        dialect = self._dialects.get(path)
        return openai_error(error) if dialect is None else dialect.error(error)

    def _rates_of(self, model: str) -> RateCard | None:
        if not model:
            raise ApiError(400, "you must provide a model parameter", param="model")
        if not isinstance(self._rates, Mapping):
            return self._rates
        if model not in self._rates:
            message = f"The model `{model}` does not exist or you do not have access to it."
            raise ApiError(404, message, code="model_not_found")
        return self._rates[model]

    def _charge(self, dialect: Dialect, generation: Generation, rates: RateCard | None) -> None:
        override = generation.reply.usage_override
        use = generation.use if override is None else dialect.use(override)
        tier = generation.request.service_tier
        cost_usd = None if rates is None else rates.cost(use, tier)
        model = generation.request.model
        self.bill.add(BilledCall(id=generation.id, model=model, use=use, cost_usd=cost_usd, service_tier=tier))


class _Written:
    """A generation with the API it is written in."""

    def __init__(self, dialect: Dialect, generation: Generation) -> None:
        self._dialect = dialect
        self._generation = generation

    def body(self) -> Json:
        return self._dialect.body(self._generation)

    def events(self) -> Iterable[bytes] | None:
        return self._dialect.events(self._generation) if self._generation.request.is_stream else None


class _Ready:
    """A body that needs no writing."""

    def __init__(self, body: Json) -> None:
        self._body = body

    def body(self) -> Json:
        return self._body

    def events(self) -> Iterable[bytes] | None:
        return None


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": 0, "owned_by": "local"}


def _unknown_url(method: str, path: str) -> ApiError:
    return ApiError(404, f"Invalid URL ({method} {path})", code="unknown_url")
