"""Names: what users may choose, and what is derived from it.

Image names are DNS-1123 subdomains and may hold dots; Jobs, hostnames and label values may not or are shorter
(KubeVirt cuts hostnames at the first dot), hence the build id, a DNS label of at most 30 characters.
"""

from __future__ import annotations

import hashlib
import re

LONGEST_NAME = 63
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def check_image_name(name: str) -> str:
    """The name, or ValueError with the words to show."""
    if len(name) > LONGEST_NAME:
        message = f"must be at most {LONGEST_NAME} characters long, this has {len(name)}"
        raise ValueError(message)
    if not _SUBDOMAIN.fullmatch(name):
        message = (
            "must be a DNS-1123 subdomain: lower-case letters, digits, '-' and '.', with a letter or digit at both ends"
        )
        raise ValueError(message)
    return name


def label_key_fault(key: str) -> str | None:
    """Why Kubernetes would refuse this label key; None if it would not."""
    prefix, slash, name = key.rpartition("/")
    if slash and (not prefix or len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        return "the part before '/' must be a DNS-1123 subdomain"
    if len(name) > 63 or not _LABEL_NAME.fullmatch(name):
        return "label keys are at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
    if prefix == "goldenpipe.io" or prefix.endswith(".goldenpipe.io"):
        return "labels below goldenpipe.io/ are the service's own"
    return None


def label_value_fault(value: str) -> str | None:
    """Why Kubernetes would refuse this label value; None if it would not."""
    if value and (len(value) > 63 or not _LABEL_NAME.fullmatch(value)):
        return "label values are at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
    return None


def build_id(image: str, identity: str) -> str:
    """A DNS label for one build: the image's name made plain, and five digits of the build's identity."""
    slug = re.sub(r"[^a-z0-9]+", "-", image)[:24].strip("-")
    return f"{slug}-{hashlib.sha256(identity.encode()).hexdigest()[:5]}"


def disk_name(image: str) -> str:
    """The image's DataVolume and claim."""
    return f"golden-image-{image}"


def vm_name(image: str, build: str) -> str:
    """The build VM, with the build's five digits; cut where KubeVirt's own objects for it would get too long a name."""
    digits = build.rpartition("-")[2]
    return f"{disk_name(image)[: LONGEST_NAME - len(digits) - 1].strip('-.')}-{digits}"


def job_name(build: str, position: int, step: str) -> str:
    """The Job of a build's step: sorted by position in `kubectl get jobs`."""
    return f"{build}-{position:02}-{step.replace('_', '-')[:26].strip('-')}"
