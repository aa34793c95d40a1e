"""Decide whether a client uses webhooks, and start its receiver when it is needed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from comflowy_nb.errors import ServiceError, SettingsError
from comflowy_nb.services.comflowy.webhook_files import WebhookFiles
from comflowy_nb.services.comflowy.webhooks import Receiver
from comflowy_nb.services.targets import is_loopback
from comflowy_nb.settings import callback_url, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from comflowy_nb.services.base import Service
    from comflowy_nb.services.types import Event


class Webhooks:
    """The webhooks of one client. Changes of the settings apply to the next run.

    Parameters
    ----------
    service
        A service with `callback_urls`.
    on_event
        Called with each event, on a thread of the receiver.
    home
        The home folder, where runs are registered for the server extension.
    owner
        The name of the client's lock.
    url
        A public URL for this client; by default the setting `callback_url`.
    """

    def __init__(
        self, service: Service, on_event: Callable[[Event], None], home: Path, *, owner: str, url: str | None = None
    ) -> None:
        self.files = WebhookFiles(home)
        self.problem: str | None = None  # why the receiver could not be started
        self._service = service
        self._on_event = on_event
        self._owner = owner
        self.url = url  # of this client; None if the settings apply
        self._receiver: Receiver | None = None
        self._lock = threading.Lock()  # protects `_receiver` and `_is_closed`
        self._is_closed = False

    def public_url(self) -> str | None:
        """Return the public URL that services call; None if they call the receiver on loopback.

        Raises
        ------
        SettingsError
            If `COMFLOWY_CALLBACK_URL` is invalid.
        """
        url = self.url or callback_url()
        # The sandbox calls addresses on loopback only.
        return None if url is None or (self._service.kind == "sandbox" and not is_loopback(url)) else url

    def receiver(self) -> Receiver | None:
        """Return the receiver, and start it if necessary. None if webhooks are off, or if it can't start."""
        self.problem = None
        try:
            url = self.public_url()
        except SettingsError as error:
            self.problem = str(error)
            return None
        is_automatic = settings.webhooks == "auto" and (url is not None or self._service.on_loopback)
        if settings.webhooks != "on" and not is_automatic:
            return None
        with self._lock:
            if self._receiver is None and not self._is_closed:
                try:
                    self._receiver = Receiver(
                        self._on_event,
                        files=self.files,
                        owner=self._owner,
                        port=settings.callback_port,
                        hide=self._service.secrets,
                    )
                except (ServiceError, RuntimeError) as error:  # no free port, or no free thread
                    self.problem = str(error)
                    return None
            if self._receiver is not None:
                self._receiver.public_url = url
            return self._receiver

    def urls(self, token: str) -> Mapping[str, str]:
        """Return the `callback_urls` of a run; empty if webhooks are off. A run without them is polled."""
        receiver = self.receiver()
        return {} if receiver is None else receiver.urls(token)

    def forget(self, token: str) -> None:
        """Reject further events of a run."""
        if self._receiver is not None:
            self._receiver.forget(token)

    def close(self) -> None:
        """Reject further events, and stop the receiver."""
        with self._lock:
            self._is_closed = True
            receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.close()
