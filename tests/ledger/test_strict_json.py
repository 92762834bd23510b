"""JSON from outside: what is taken is taken exactly, and nothing slips through the quick scans."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger import strict_json
from ledger.errors import InvalidRequest, MalformedJson

WORDS = st.sampled_from(["a", "b", ":", '"', "\\", "é", "\u2028", "😀", "x" * 20, "[{", "1" * 19, "\\u0000", "~/"])
NUMBERS = st.one_of(
    st.integers(-(2**65), 2**65),
    st.sampled_from([2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**18, 10**19]),
    st.floats(allow_nan=False, allow_infinity=False),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, st.text(st.characters(codec="utf-8"), max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=12,
)


def refusals(text: bytes) -> list[tuple[str, str]] | str:
    """Return what `decode` says of a text: breaches, or "malformed", or [] for a text it takes."""
    try:
        strict_json.decode(text)
    except InvalidRequest as error:
        return [(breach.pointer, breach.detail) for breach in error.breaches]
    except MalformedJson:
        return "malformed"
    return []


def expected(text: bytes) -> list[str]:
    """Return the pointers of everything wrong in a JSON object, found the slow way, in order."""
    found = []

    def walk(node, pointer):
        if isinstance(node, Members):
            names = Counter()
            for name, value in node.pairs:
                names[name] += 1
                below = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
                found.extend([below] * (names[name] > 1))
                found.extend([below] * ("\0" in name))
                walk(value, below)
        elif isinstance(node, list):
            for index, value in enumerate(node):
                walk(value, f"{pointer}/{index}")
        elif isinstance(node, int) and not isinstance(node, bool):
            found.extend([pointer] * (not -(2**63) <= node < 2**64))
        elif isinstance(node, str):
            found.extend([pointer] * ("\0" in node))

    walk(json.loads(text, object_pairs_hook=Members), "")
    return found


class Members:
    def __init__(self, pairs):
        self.pairs = pairs


@given(st.dictionaries(WORDS, VALUES, max_size=5), st.booleans(), st.booleans(), st.data())
def test_the_quick_scans_find_what_a_slow_reader_finds(value, ascii_only, spaced, data):
    text = json.dumps(value, ensure_ascii=ascii_only, separators=None if spaced else (",", ":"))
    if data.draw(st.booleans()):  # repeat a member somewhere
        text = text.replace('"a"', '"b"')
    text = text.replace("é", data.draw(st.sampled_from(["é", "\\u00e9", "\\u003a", "\\u003A", "\\u0000"])))
    found = refusals(text.encode())
    assert found != "malformed", text
    assert [pointer for pointer, _ in found] == expected(text.encode())


@given(st.binary(max_size=40))
@example(b'{"a":1}')
@example(b'{"a":"\\uD83D\\uDE00"}')
def test_any_bytes_are_taken_or_refused(text):
    said = refusals(text)
    try:
        value = json.loads(text.decode())
    except (ValueError, RecursionError):
        assert said == "malformed"
    else:
        assert (said == "malformed") == (not isinstance(value, dict) or b"NaN" in text or b"Infinity" in text)


@given(st.text(alphabet='{}[]":,\\u0dD8aAfF1e9-. \ntrue', max_size=30))
def test_near_json_is_taken_or_refused(text):
    refusals(text.encode())
    refusals(b'{"a":' + text.encode() + b"}")


@pytest.mark.parametrize("depth", [62, 63, 64, 65, 300, 1023, 1024, 5000, 100_000])
def test_depth_is_bounded(depth):
    arrays = b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    objects = b'{"a":' * depth + b"1" + b"}" * depth
    for text in (arrays, objects):
        assert refusals(text) == ([] if depth <= 64 else [("", "is nested deeper than 64 levels")])
    assert refusals(arrays[:-1]) == "malformed"


def test_brackets_in_strings_are_no_depth():
    assert refusals(b'{"a":["' + b"[" * 500 + b'", "\\"' + b"{" * 500 + b'","\\\\",[]]}') == []
    assert refusals(b'{"a":"' + b"]" * 500 + b'","b":' + b"[" * 64 + b"]" * 64 + b"}") != []


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        (b'{"a":"\\ud800"}', "/a"),
        (b'{"a":"\\udc00\\ud800"}', "/a"),
        (b'{"a":{"\\ud800":1}}', "/a/\\ud800"),
        (b'{"a":1e309}', "/a"),
        (b'{"a":-1E999}', "/a"),
        (b'{"a":1' + b"0" * 5000 + b"}", "/a"),
        (b'{"a":[{},{"x\\u0000":1}]}', "/a/1/x\x00"),
    ],
)
def test_legal_json_that_cannot_be_kept_is_named(text, pointer):
    assert pointer in [found for found, _ in refusals(text)]


def test_an_escaped_backslash_before_u0000_is_no_null():
    assert refusals(b'{"a":"\\\\u0000"}') == []


def test_long_numbers_that_are_no_big_integers_are_taken():
    assert refusals(b'{"a":1234567890123456789,"b":0.1234567890123456789012345,"c":12345678901234567890123e-5}') == []
    assert refusals(b'{"a":"99999999999999999999999999","b":18446744073709551615,"c":-9223372036854775808}') == []


def test_breaches_are_bounded():
    assert len(refusals(b'{"a":[' + b",".join([b"1e400"] * 5000) + b"]}")) == strict_json.BREACH_LIMIT


def test_the_payload_keeps_its_bytes():
    text = b'{ "type" : "a" , "payload" :  {"x" : 1.0 ,\n "y":[ ]} , "queue":"q"}'
    strict_json.decode(text)
    assert strict_json.payload_bytes(text) == b'{"x" : 1.0 ,\n "y":[ ]}'
    assert strict_json.payload_bytes(b'{"type":"a"}') is None
    assert strict_json.payload_bytes(b'{"p\\u0061yload":{"x": 1}}') == b'{"x": 1}'
    assert strict_json.bulk_payload_bytes(b'{"jobs":[{"payload":{ }},{}]}') == [b"{ }", None]
