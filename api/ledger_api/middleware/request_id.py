"""A name for each request: the caller's own `X-Request-Id` if it is one, else made; in every answer and log line."""

from __future__ import annotations

import os
import re
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import falcon

_VALID = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)


class RequestId:
    def __init__(self) -> None:
        self._process = os.urandom(8).hex()
        self._numbers = count(1)

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        given = req.get_header("X-Request-Id")
        request_id = (
            given if given is not None and _VALID.fullmatch(given) else f"{self._process}{next(self._numbers):08x}"
        )
        req.context.request_id = request_id
        resp.set_header("X-Request-Id", request_id)
