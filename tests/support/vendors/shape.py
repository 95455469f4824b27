"""What a JSON value may look like: checks made of checks. A check is a function of a value and of where it stands, and raises
Refused. `record` knows every member by name; one it does not know is refused, as strict vendors do."""

import base64
import binascii
import json
import re


class Refused(Exception):
    """A request the vendor does not take. `kind` as vendors.Fail has it."""

    def __init__(self, message, param=None, kind="bad"):
        super().__init__(message)
        self.param, self.kind = param, kind


def need(holds, message, param=None):
    if not holds:
        raise Refused(message, param)


def kind_of(type, word):
    def check(value, where):
        need(isinstance(value, type) and (type is bool or not isinstance(value, bool)), f"{where}: Input should be a valid {word}", where)
    return check


anything = lambda value, where: None
boolean = kind_of(bool, "boolean")
number = kind_of((int, float), "number")
whole = kind_of(int, "integer")
string = kind_of(str, "string")
object_ = kind_of(dict, "dictionary")
null = lambda value, where: need(value is None, f"{where}: should be null", where)


def both(*checks):
    def check(value, where):
        for each in checks:
            each(value, where)
    return check


def either(*checks):
    """The first that takes it; else the words of the last."""
    def check(value, where):
        for each in checks[:-1]:
            try:
                return each(value, where)
            except Refused:
                pass
        checks[-1](value, where)
    return check


def within(least, most):
    def check(value, where):
        number(value, where)
        need(least <= value <= most, f"{where}: {value} is not between {least} and {most}", where)
    return check


def at_least(least):
    def check(value, where):
        whole(value, where)
        need(value >= least, f"{where}: Input should be greater than or equal to {least}", where)
    return check


def word(*words):
    def check(value, where):
        need(value in words, f"{where}: Input should be one of {', '.join(map(str, words))}, not {value!r}", where)
    return check


def matching(pattern):
    def check(value, where):
        string(value, where)
        need(re.fullmatch(pattern, value, re.S), f"{where}: String should match pattern '{pattern}'", where)
    return check


def up_to(most, check=string):
    return both(check, lambda value, where: need(len(value) <= most, f"{where}: string too long. Expected a maximum length of {most}, but got {len(value)}", where))


filled = both(string, lambda value, where: need(value != "", f"{where}: must not be empty", where))


def items(check, least=0, most=None):
    def each(value, where):
        need(isinstance(value, list), f"{where}: Input should be a valid list", where)
        need(len(value) >= least, f"{where}: List should have at least {least} item", where)
        need(most is None or len(value) <= most, f"{where}: List should have at most {most} items", where)
        for index, item in enumerate(value):
            check(item, f"{where}.{index}")
    return each


def table(check):
    def each(value, where):
        object_(value, where)
        for name, member in value.items():
            check(member, f"{where}.{name}")
    return each


def record(**members):
    """Members by name; one that ends in `_` may be left out. `_` before a name that Python keeps for itself."""
    known = {name.strip("_"): (check, name.endswith("_")) for name, check in members.items()}

    def check(value, where):
        object_(value, where)
        inside = f"{where}." if where else ""
        for name in value:
            need(name in known, f"{inside}{name}: Extra inputs are not permitted", inside + name)
        for name, (each, optional) in known.items():
            if name in value:
                each(value[name], inside + name)
            else:
                need(optional, f"{inside}{name}: Field required", inside + name)
    return check


def tagged(tag, **kinds):
    """Records told apart by a member."""
    def check(value, where):
        object_(value, where)
        kind = value.get(tag)
        need(kind in kinds, f"{where}.{tag}: Input tag {kind!r} found does not match any of the expected tags: {', '.join(kinds)}", f"{where}.{tag}")
        kinds[kind](value, where)
    return check


def base64_of(*magics):
    """Base64 of something that begins with one of these bytes."""
    def check(value, where):
        filled(value, where)
        try:
            data = base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise Refused(f"{where}: invalid base64 data", where) from error
        need(not magics or data.startswith(magics), f"{where}: Could not process the data", where)
    return check


IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")


def data_url(types, magics):
    def check(value, where):
        found = re.fullmatch(r"data:([a-z]+/[a-z0-9.+-]+);base64,(.*)", value, re.S)
        need(found and re.fullmatch(types, found[1]), f"{where}: expected a base64-encoded data URL of {types}", where)
        base64_of(*magics)(found[2], where)
    return check


def json_object(value, where):
    """Text of a JSON object."""
    string(value, where)
    try:
        need(isinstance(json.loads(value), dict), f"{where}: is no JSON object", where)
    except ValueError as error:
        raise Refused(f"{where}: is no JSON", where) from error


def strict_schema(value, where):
    """Every object is closed and wants all it has, as OpenAI's strict mode demands."""
    object_(value, where)
    if value.get("type") == "object" or "properties" in value:
        need(value.get("additionalProperties") is False, f"Invalid schema: In context={where}, 'additionalProperties' is required to be supplied and to be false.", where)
        need(set(value.get("required", [])) == set(value.get("properties", {})),
             f"Invalid schema: In context={where}, 'required' is required to be supplied and to be an array including every key in properties.", where)
    for name, each in value.get("properties", {}).items():
        strict_schema(each, f"{where}.{name}")
    if isinstance(value.get("items"), dict):
        strict_schema(value["items"], f"{where}.items")
