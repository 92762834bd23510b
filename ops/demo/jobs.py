"""The example application: one job type that parses and compiles a Python file. This is all a user has to write."""

import ast
import hashlib
import io
import tokenize
import warnings
from pathlib import Path

from ledger import Job, Ledger, Permanent

ledger = Ledger()

warnings.simplefilter("ignore")  # the library's own tests are full of questionable code


@ledger.job("source.examine", max_retries=2, timeout=60, retry={"base": "200ms", "max": "2s"})
def examine(job: Job, path: str) -> dict[str, object]:
    """Report lines, functions, size and SHA-256 of a file that compiles."""
    file = Path(path)
    source = file.read_bytes()
    text = _decoded(source, careful=job.retry_count > 0)
    try:
        tree = ast.parse(source, path)
        compile(tree, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        if file.name.startswith("bad"):
            # Written to be wrong: no retry can help, and the policy need not be asked.
            raise Permanent(str(error)) from error
        raise  # may be half written just now: fails, is retried with growing delays, and is dead after the last retry
    functions = sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(tree))
    return {
        "lines": text.count("\n"),
        "functions": functions,
        "size": len(source),
        "sha256": hashlib.sha256(source).hexdigest(),
    }


def _decoded(source: bytes, *, careful: bool) -> str:
    """Take the text for UTF-8, nearly always right; a retry looks for what the file itself declares."""
    if not careful:
        return source.decode()
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    return source.decode(encoding)
