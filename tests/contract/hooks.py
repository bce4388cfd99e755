"""Who schemathesis calls as, and on what.

A ride is made ready once: a rider, a driver on his way to him, and an operator. CONTRACT_ROLE says
who of them calls. Half of the ids in paths are the ride's own, and half of the bodies that keep the
document's rules have places, phones and times of this world, so that more is asked than what is
refused at the door.
"""

import datetime
import json
import os
import time
import urllib.error
import urllib.request
import zlib

import schemathesis

BASE = os.environ["CONTRACT_URL"] + "/api/v1"
ROLE = os.environ["CONTRACT_ROLE"]
PASSWORD = os.environ["CONTRACT_PASSWORD"]
PLACE = {"lat": 30.0444, "lng": 31.2357}
PAPERS = ("driving_licence", "vehicle_licence", "insurance")


def call(path, body, token=None):
    """The status, and the answer's data."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = "Bearer " + token
    request = urllib.request.Request(BASE + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)["data"]
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def sign_up(role):
    phone = "010%08d" % (time.time_ns() // 1000 % 100_000_000)
    account = {"phone": phone, "password": PASSWORD, "name": "Contract", "role": role}
    return phone, done(call("/auth/signup", account))


def log_in(phone):
    return done(call("/auth/login", {"phone": phone, "password": PASSWORD}))


def done(answer):
    status, data = answer
    assert 200 <= status < 300, answer
    return data


class Ride:
    def __init__(self):
        admin_phone = os.environ["CONTRACT_ADMIN"]
        admin = log_in(admin_phone)
        driver_phone, driver = sign_up("driver")
        rider_phone, rider = sign_up("rider")
        self.phones = {"admin": admin_phone, "driver": driver_phone, "rider": rider_phone}
        self.driver, self.rider = driver["user"]["id"], rider["user"]["id"]
        vehicle = {"type": "economy", "make": "Lada", "model": "2107", "plate": driver_phone[3:],
                   "color": "white", "year": 2019}
        papers = [{"kind": kind, "number": "1", "expiresAt": "2099-01-01T00:00:00Z"} for kind in PAPERS]
        done(call("/drivers/profile", {"vehicle": vehicle, "documents": papers}, driver["token"]))
        decision = f"/admin/drivers/{self.driver}/decision"
        done(call(decision, {"decision": "approve"}, admin["token"]))
        done(call("/drivers/status", {"isOnline": True, **PLACE}, driver["token"]))
        asked = {"pickup": PLACE, "destination": {"lat": 30.06, "lng": 31.24}, "vehicleType": "economy"}
        self.trip = done(call("/trips/request", asked, rider["token"]))["tripId"]
        accept = f"/trips/{self.trip}/driver-response"
        deadline = time.monotonic() + 30
        while call(accept, {"action": "accept"}, driver["token"])[0] != 200:
            assert time.monotonic() < deadline, "the driver was never asked"
            now = datetime.datetime.now(datetime.timezone.utc).isoformat()
            call("/location/update", {**PLACE, "timestamp": now}, driver["token"])
            time.sleep(0.2)


RIDE = Ride()


@schemathesis.auth(refresh_interval=None)
class Caller:
    def __init__(self):
        self.token = None

    def get(self, case, context):
        # A logout ends its session: the others keep theirs.
        if self.token is None or case.path == "/auth/logout":
            fresh = log_in(RIDE.phones[ROLE])["token"]
            if case.path == "/auth/logout":
                return fresh
            self.token = fresh
        return self.token

    def set(self, case, data, context):
        case.headers["Authorization"] = "Bearer " + data


def number(value):
    """Of what was drawn, so that a run can be repeated."""
    return zlib.crc32(json.dumps(value, sort_keys=True, default=str).encode())


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    path = context.operation.path if context.operation else ""
    known = {"/trips/": RIDE.trip, "/admin/trips/": RIDE.trip, "/admin/drivers/": RIDE.driver,
             "/admin/wallets/": RIDE.rider}
    own = next((known[start] for start in known if path.startswith(start)), None)
    if not path_parameters or own is None or number(path_parameters) % 2:
        return path_parameters
    return {name: own for name in path_parameters}


@schemathesis.hook
def map_case(context, case):
    keeps_rules = case.meta is not None and case.meta.generation.mode.is_positive
    if keeps_rules and isinstance(case.body, dict) and number(case.body) % 2:
        case.body = of_this_world(case.body, number(case.body))
    return case


def of_this_world(value, drawn):
    if isinstance(value, list):
        return [of_this_world(part, drawn) for part in value]
    if not isinstance(value, dict):
        return value
    known = {
        "lat": PLACE["lat"] + drawn % 100 / 10_000, "lng": PLACE["lng"] + drawn % 97 / 10_000,
        "phone": "011%08d" % (drawn % 100_000_000), "password": PASSWORD, "role": "rider",
        "expiresAt": "2099-01-01T00:00:00Z", "name": "Mona", "address": "Tahrir Square",
        "reason": "other",
        "timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "scheduledAt": None, "quoteId": None, "price": None, "stops": [], "amount": 1 + drawn % 100,
    }
    return {name: known.get(name, of_this_world(part, drawn)) for name, part in value.items()}
