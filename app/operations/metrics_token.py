"""Who may read of tenants at /metrics: the scraper that sends the operator's token."""

import hmac

from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.core.errors import Unauthenticated
from app.core.settings import Settings

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="MetricsToken",
    description="The operator's LETHE_METRICS_TOKEN, where it is set.",
)


def may_read_of_tenants(settings: Settings, credentials: HTTPAuthorizationCredentials | None) -> bool:
    """False where no token is set: then nobody may, and everybody may read the rest.

    Raises `Unauthenticated` where one is set and not sent.
    """
    expected = settings.metrics_token.get_secret_value() if settings.metrics_token else ""
    if not expected:
        return False
    sent = credentials.credentials if credentials else ""
    if not hmac.compare_digest(sent.encode(), expected.encode()):
        raise Unauthenticated(
            "Send the operator's token as: Authorization: Bearer …",
            code="metrics_token_invalid",
            headers={"WWW-Authenticate": 'Bearer realm="lethe-metrics"'},
        )
    return True
