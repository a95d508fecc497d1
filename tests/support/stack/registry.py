"""A schema registry with Confluent's API, and the Avro converter for Connect."""

from __future__ import annotations

import zipfile
from pathlib import Path

import httpx

from tests.support.stack import java
from tests.support.stack.archive import unpack_tar
from tests.support.stack.machine import program
from tests.support.stack.native import Launch, Place, Process
from tests.support.stack.server import Server

VERSION = "2.6.13.Final"
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
CONVERTER_ARTIFACT = f"io.apicurio:apicurio-registry-utils-converter:{VERSION}"
CONVERTER = "io.apicurio.registry.utils.converter.AvroConverter"
# Connect brings these; a second copy in the plugin's folder would not be the same classes.
FROM_CONNECT = ("kafka-clients", "connect-api", "slf4j", "lz4", "snappy", "zstd")


class Registry(Server):
    """The registry. It keeps its schemas in memory: a restart forgets them."""

    name = "registry"

    @property
    def url(self) -> str:
        """Where Confluent's API is."""
        return f"http://{self.address}/apis/ccompat/v7"

    @property
    def native_url(self) -> str:
        """Where the converter's own API is."""
        return f"http://{self.address}/apis/registry/v2"

    def ping(self) -> None:
        httpx.get(f"{self.url}/subjects", timeout=2.0).raise_for_status()

    def exports(self) -> dict[str, str]:
        return {"CDC_REGISTRY__URL": self.url}


def native(place: Place) -> Registry:
    port = place.ports.take("registry")

    def prepare() -> Launch:
        home = place.installation(
            f"registry-{VERSION}", lambda into: unpack_tar(place.maven.archive(ARTIFACT, into), into)
        )
        jar = home / f"apicurio-registry-app-{VERSION}-runner.jar"
        command = [program("java"), "-Xmx512m", *java.FLAGS, "-jar", str(jar)]
        return Launch(command, {"QUARKUS_HTTP_HOST": place.host, "QUARKUS_HTTP_PORT": str(port)})

    return Registry(Process(place, "registry", prepare), place.host, port)


def converter(place: Place) -> Path:
    """A plugin folder for Connect with the Avro converter."""

    def fill(into: Path) -> None:
        place.maven.libraries([CONVERTER_ARTIFACT], into)
        for jar in into.glob("*.jar"):
            if jar.name.startswith(FROM_CONNECT):
                jar.unlink()
        # The converter has no service entry of its own, and Connect looks for nothing else (service_load).
        with zipfile.ZipFile(into / "avro-converter-service.jar", "w") as service:
            service.writestr("META-INF/services/org.apache.kafka.connect.storage.Converter", f"{CONVERTER}\n")

    return place.installation(f"avro-converter-{VERSION}", fill)
