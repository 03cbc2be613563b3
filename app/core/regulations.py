"""By when a regulation wants a request acknowledged and carried out, and how far that can be put off.

A table in the configuration (LETHE_REGULATIONS, JSON), because law changes faster than code. Holidays are
not known here: where a regulation counts business days, or lets a period that ends on a holiday run on, the
dates come out early rather than late.
"""

import calendar
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(gt=0, le=1000)]
_SATURDAY = 5


class Period(BaseModel):
    """One of the three, from the moment of receipt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    months: Count | None = None
    days: Count | None = None
    business_days: Count | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(part is not None for part in (self.months, self.days, self.business_days)) != 1:
            raise ValueError("give months, days or business_days, one of the three")
        return self

    def end(self, start: datetime) -> datetime:
        """The same time of day (UTC), that much later."""
        moment = start.astimezone(UTC)
        if self.months is not None:
            return _months_later(moment, self.months)
        if self.days is not None:
            return moment + timedelta(days=self.days)
        return _business_days_later(moment, self.business_days or 0)


class Regulation(BaseModel):
    """`extended` counts from receipt, too. Without it there is no extension; without `acknowledge` nothing
    has to be acknowledged apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    due: Period
    acknowledge: Period | None = None
    extended: Period | None = None


REGULATIONS = {
    # Regulation (EU) 2016/679, article 12(3): one month, and two further months on notice.
    "gdpr": Regulation(due=Period(months=1), extended=Period(months=3)),
    # California Code of Regulations, title 11, section 7021: confirm within 10 business days, respond within
    # 45 calendar days, at most 90 with notice.
    "ccpa": Regulation(acknowledge=Period(business_days=10), due=Period(days=45), extended=Period(days=90)),
}


def _months_later(moment: datetime, months: int) -> datetime:
    """On the day of the same number; on the month's last day where it has none such (Regulation (EEC,
    Euratom) 1182/71, article 3(2)(c))."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


def _business_days_later(moment: datetime, count: int) -> datetime:
    """Mondays to Fridays, the day of receipt not counted."""
    while count:
        moment += timedelta(days=1)
        count -= moment.weekday() < _SATURDAY
    return moment
