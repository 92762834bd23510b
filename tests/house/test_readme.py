"""The README says what the code says."""

from ops.readme import README, generated


def test_the_generated_parts_are_current():
    text = README.read_text()
    assert generated(text) == text, "run `python -m ops.readme`"
    assert "| `JOB_MAX_CRASHES` | 3 |" in text


def test_it_fits_on_a_page():
    assert len(README.read_text().splitlines()) <= 150
