"""The dates that regulations set."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from app.core.regulations import REGULATIONS, Period
from app.core.settings import Settings


def at(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(hour=15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("regulation", "received", "acknowledge", "due", "extended"),
    [
        ("gdpr", "2026-11-24", None, "2026-12-24", "2027-02-24"),
        ("gdpr", "2027-01-31", None, "2027-02-28", "2027-04-30"),  # no 31st: the last day
        ("gdpr", "2027-11-30", None, "2027-12-30", "2028-02-29"),
        ("ccpa", "2026-11-24", "2026-12-08", "2027-01-08", "2027-02-22"),  # Tuesday + two weeks
        ("ccpa", "2026-11-28", "2026-12-11", "2027-01-12", "2027-02-26"),  # received on a Saturday
    ],
)
def test_known_dates(
    regulation: str, received: str, acknowledge: str | None, due: str, extended: str
) -> None:
    rule, start = REGULATIONS[regulation], at(received)
    assert (rule.acknowledge.end(start) if rule.acknowledge else None) == (
        at(acknowledge) if acknowledge else None
    )
    assert rule.due.end(start) == at(due)
    assert rule.extended is not None
    assert rule.extended.end(start) == at(extended)


def test_a_period_is_one_thing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ({}, {"months": 1, "days": 2}, {"days": 0}, {"weeks": 1}):
        with pytest.raises(ValidationError):
            Period.model_validate(wrong)
    monkeypatch.setenv("LETHE_REGULATIONS", '{"lgpd": {"due": {"days": 15}}}')
    known = Settings(
        **settings.model_dump(include={"database_url", "broker_url", "storage_url", "hash_key"})
    ).regulations
    assert known["lgpd"].due.end(at("2026-11-24")) == at("2026-12-09")
    assert "gdpr" not in known
