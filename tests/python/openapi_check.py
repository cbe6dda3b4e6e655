"""Checks the API's description against the specification, and the running server against its description.

    python tests/python/openapi_check.py http://127.0.0.1:8686 [KEY]

Needs openapi-spec-validator and schemathesis. Schemathesis makes requests from the description, right and
wrong ones, and checks status, headers and bodies of the answers against it. It writes: run it against a
server made for it.
"""

import json
import pathlib
import subprocess
import sys
import urllib.request

from openapi_spec_validator import validate

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
]


def main() -> int:
    if len(sys.argv) not in (2, 3):
        print(__doc__)
        return 2
    base, key = sys.argv[1].rstrip("/"), sys.argv[2:]
    with urllib.request.urlopen(f"{base}/openapi.json") as answer:
        description = json.load(answer)
    validate(description)
    operations = sum(len(path) for path in description["paths"].values())
    print(f"the description is valid: OpenAPI {description['openapi']}, {operations} operations")
    program = pathlib.Path(sys.executable).with_name("schemathesis")
    command = [
        str(program), "run", f"{base}/openapi.json", "--url", base,
        "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing",
        "--max-examples", "30", "--seed", "1", "--generation-database", "none",
    ]
    for text in key:
        command += ["--header", f"Authorization: Bearer {text}"]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
