"""The few pages and API answers that the toolkit and its tests read."""

from __future__ import annotations

import base64
import hmac
import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .provisioning import Provisioned

PAGE = """<!doctype html>
<html lang="en"><head><title>Grafana STAND-IN</title><meta name="lab-stand-in" content="grafana"></head>
<body><h1>This is not Grafana</h1>
<p>It is the lab's stand-in for it: it keeps Grafana's contract and draws nothing.</p>
{body}</body></html>
"""


def handler(provisioned: Provisioned, version: str, user: str, password: str) -> type[BaseHTTPRequestHandler]:
    """A request handler over what was provisioned; `user` and `password` open the API."""
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "grafana-stand-in"
        sys_version = ""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            path = url.path.rstrip("/") or "/"
            if path == "/api/health":
                self._json(200, {"database": "ok", "version": version, "commit": "stand-in", "stand_in": True})
            elif path == "/":
                self._redirect("/login")
            elif path == "/login":
                self._html("<form><label>User <input name='user'></label></form>")
            elif path == "/metrics":
                self._send(
                    200, "text/plain; version=0.0.4", f'grafana_build_info{{version="{version}",stand_in="true"}} 1\n'
                )
            elif path.startswith("/api/"):
                self._api(path, parse_qs(url.query))
            else:
                self._json(404, {"message": "Not found"})

        do_HEAD = do_GET

        def _api(self, path: str, query: dict[str, list[str]]) -> None:
            if not hmac.compare_digest(self.headers.get("Authorization", ""), expected):
                self._json(401, {"message": "Unauthorized", "statusCode": 401})
            elif path == "/api/search":
                words = query.get("query", [""])[0].lower()
                self._json(200, [_hit(d) for d in provisioned.dashboards if words in d["title"].lower()])
            elif path == "/api/datasources":
                self._json(200, [_source(i, s) for i, s in enumerate(provisioned.datasources, 1)])
            elif path.startswith("/api/dashboards/uid/"):
                uid = path.rsplit("/", 1)[1]
                match = next((d for d in provisioned.dashboards if d["uid"] == uid), None)
                if match is None:
                    self._json(404, {"message": "Dashboard not found"})
                else:
                    model = {k: v for k, v in match.items() if not k.startswith("_")}
                    self._json(
                        200, {"meta": {"provisioned": True, "folderTitle": match["_folder"]}, "dashboard": model}
                    )
            elif path == "/api/org":
                self._json(200, {"id": 1, "name": "Main Org."})
            else:
                self._json(404, {"message": "Not found"})

        def _json(self, status: int, body: Any) -> None:
            self._send(status, "application/json; charset=UTF-8", json.dumps(body))

        def _html(self, body: str) -> None:
            self._send(200, "text/html; charset=UTF-8", PAGE.format(body=body))

        def _redirect(self, where: str) -> None:
            self.send_response(302)
            self.send_header("Location", where)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Lab-Stand-In", "grafana")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            if not self.path.startswith("/api/health"):
                print(json.dumps({"logger": "stand-in", "msg": format % args}), flush=True)

    return Handler


def _hit(dashboard: dict[str, Any]) -> dict[str, Any]:
    return {
        "uid": dashboard["uid"], "title": dashboard["title"], "type": "dash-db", "folderTitle": dashboard["_folder"],
        "url": f"/d/{dashboard['uid']}", "tags": dashboard.get("tags", []),
    }  # fmt: skip


def _source(number: int, source: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": number, "uid": source.get("uid", ""), "name": source["name"], "type": source["type"],
        "access": source.get("access", "proxy"), "url": source.get("url", ""),
        "isDefault": bool(source.get("isDefault")), "readOnly": not source.get("editable", False),
    }  # fmt: skip
