"""Versions as entity tags: `ETag` on a response, `If-None-Match` on reads, `If-Match` on changes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import falcon

from ledger.errors import JobExists, VersionConflict
from ledger.resources import dumps
from ledger_api.problems import invalid_parameters, precondition_failed

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from ledger import Ledger
    from ledger.job import JobState

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"\s*{_TAG}\s*(?:,\s*{_TAG}\s*)*")
_STRONG = re.compile(r'(?<!W/)"([1-9]\d{0,8})"', re.ASCII)
_ANY = re.compile(r'"([1-9]\d{0,8})"', re.ASCII)

Versions = frozenset[int]


def demanded_versions(req: falcon.Request) -> Versions | None:
    """Return the versions `If-Match` allows, None where any will do; weak and foreign tags allow nothing."""
    return _versions(req, "If-Match", _STRONG)


def set_version(resp: falcon.Response, version: int) -> None:
    resp.set_header("ETag", f'"{version}"')


def known_versions(req: falcon.Request) -> Callable[[int], bool]:
    """Read `If-None-Match`, and return what tells whether the client has a version already."""
    if req.get_header("If-None-Match") is None:
        return lambda _: False
    versions = _versions(req, "If-None-Match", _ANY)
    return lambda version: versions is None or version in versions


def send_version(
    resp: falcon.Response, version: int, is_known: Callable[[int], bool], resource: Callable[[], dict[str, Any]]
) -> None:
    """Answer with the resource, or with 304 where the client has this version already."""
    set_version(resp, version)
    if is_known(version):
        resp.status = falcon.HTTP_304
    else:
        resp.data = dumps(resource())


def change(
    ledger: Ledger, job_id: UUID | str, versions: Versions | None, act: Callable[[int | None], JobState]
) -> JobState:
    """Do what `act` does to the job, given the one version it may do it to; refuse when the job is at another one."""
    if versions is None:
        return act(None)
    current = ledger.get(job_id).version
    if current not in versions:
        raise precondition_failed(current)
    try:
        return act(current)
    except JobExists:
        raise
    except VersionConflict:
        raise precondition_failed(ledger.get(job_id).version) from None


def _versions(req: falcon.Request, header: str, tag: re.Pattern[str]) -> Versions | None:
    value = req.get_header(header)
    if value is None or value.strip() == "*":
        return None
    if len(value) > 1000 or not _TAGS.fullmatch(value):
        raise invalid_parameters([(header, 'must be * or entity tags such as "3"')])
    return frozenset(int(number) for number in tag.findall(value))
