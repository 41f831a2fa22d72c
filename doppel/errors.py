"""What the client raises: one exception for calls, and one for messages that are not the server's."""

import email.utils
import time
from typing import Any

import httpx

PASSING = (429, 502, 503, 504)  # answers of a server, or of a proxy before it, that will be well again


class BadSignature(Exception):
    """A message to a webhook is not from the server that it is said to be from, or is old."""


class ApiError(Exception):
    """A request that was refused or not answered, or a job that failed: the API's problem document (RFC 9457).

    Attributes:
        status: the HTTP status; 0 if there was no answer; 500 for a job that failed, 409 for one that was canceled.
        title: what kind of problem it is, in a few words.
        detail: what was wrong and what is accepted, in sentences.
        code: for programs, if there is something that they can do about it, as "no_face"; else None.
        retry_after_s: seconds after which the server asks to be tried again; None if it does not say.
        job_id: of the job that failed or was canceled; else None.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        code: str | None = None,
        retry_after_s: float | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(f"{title} ({status}): {detail}" if status else f"{title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.code = code
        self.retry_after_s = retry_after_s
        self.job_id = job_id

    @property
    def passing(self) -> bool:
        """Whether the same request may well succeed a little later."""
        return self.status == 0 or self.status in PASSING

    @classmethod
    def of_answer(cls, response: httpx.Response) -> "ApiError":
        """The error that an answer tells of: a problem document, a failed job, or a proxy's own page."""
        try:
            body = response.json()
        except ValueError:
            body = None
        if isinstance(body, dict) and isinstance(body.get("error"), dict):
            return cls.of_job(body)
        problem: dict[str, Any] = body if isinstance(body, dict) else {}
        return cls(
            response.status_code,
            str(problem.get("title") or response.reason_phrase or "Error"),
            str(problem.get("detail") or f"{response.request.url} was not answered by Doppel."),
            code=problem.get("code"),
            retry_after_s=_seconds(response.headers.get("Retry-After")),
        )

    @classmethod
    def of_job(cls, job: dict[str, Any]) -> "ApiError":
        """The error of a job that has failed or was canceled.

        Args:
            job: as the API describes it.
        """
        error = job.get("error")
        if error is None:
            return cls(409, "Canceled", "The job was canceled.", job_id=job["id"])
        return cls(500, error["title"], error["detail"], code=error["code"], job_id=job["id"])

    @classmethod
    def of_loss(cls, error: httpx.TransportError) -> "ApiError":
        """The error of a request that got no answer."""
        return cls(0, "No answer", str(error) or type(error).__name__)


def _seconds(retry_after: str | None) -> float | None:
    """The value of the header ``Retry-After``: seconds, or a date."""
    if retry_after is None:
        return None
    if retry_after.isdigit():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
