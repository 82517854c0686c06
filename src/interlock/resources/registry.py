"""The registered resources, and the credentials which the gateway shows to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from interlock.errors import ResourceError
from interlock.exchange import Credential, Resource
from interlock.resources.secrets import resolve

OWN = Resource("interlock", "interlock")
"""The gateway itself: what is done through its console is an operation on this resource."""


class Registry:
    """Look-ups by name. Whoever asks for a name that is not there learns nothing about the others."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._resources = {resource.name: resource for resource in resources}

    def find(self, name: str) -> Resource:
        """The resource of exactly this name. Raises `ResourceError` in the same words as the gate uses for a
        resource that exists but may not be reached."""
        resource = self._resources.get(name)
        if resource is None:
            raise ResourceError("no such resource, or no right to use it", hint="ask for the resource's exact name")
        return resource

    def names(self) -> tuple[str, ...]:
        return tuple(self._resources)

    def all(self) -> tuple[Resource, ...]:
        return tuple(self._resources.values())

    def credential(self, resource: Resource) -> Credential:
        """What the gateway logs in with: user name and password, or, for a bearer token, the token as the
        password; a TLS client certificate with its key. Raises `ResourceError` that names the reference, never the value."""
        settings = resource.settings
        reference = str(settings.get("password") or settings.get("token") or "")
        certificate, key = (str(settings.get(name) or "") for name in ("client_certificate", "client_key"))
        return Credential(
            str(settings.get("username", "")),
            resolve(reference) if reference else "",
            resolve(certificate) if certificate else "",
            resolve(key) if key else "",
        )

    def environment(self, resource: Resource) -> Mapping[str, str]:
        """The environment variables of a resource that is started as a process, secrets resolved. Hand them
        to the process, and keep them out of logs."""
        references = cast(Mapping[str, str], resource.settings.get("environment", {}))
        return {key: resolve(reference) for key, reference in references.items()}
