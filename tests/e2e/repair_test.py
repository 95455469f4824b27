"""Parameters that a model does not take are left out at the vendor's word, one after the other."""

import unittest

from moongate import *


def refusing(*names):
    """A server that names the first of these that it finds."""
    def script(sock, request):
        for name in names:
            if name in request.json:
                return error_answer(400, "unsupported_parameter", message=f"Unsupported parameter: '{name}' is not supported with this model.")(sock, request)
        return json_answer("ok")(sock, request)
    return script


class Repairs(unittest.TestCase):
    def test_two_parameters_are_repaired_in_turn_and_remembered(self):
        with Upstream(*[refusing("temperature", "top_p")] * 8) as up, Gateway(project(up)) as gw:
            first, second = (gw.chat(temperature=0.5, top_p=0.5) for _ in range(2))

        self.assertEqual((first.status, first.headers["x-moongate-attempts"]), (200, "3"))
        self.assertEqual((second.status, second.headers["x-moongate-attempts"]), (200, "1"))

    def test_a_server_that_dislikes_ever_more_is_not_asked_for_ever(self):
        names = ["temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "user", "metadata"]
        with Upstream(*[refusing(*names)] * 12) as up, Gateway(project(up, workflow="max_attempts = 8")) as gw:
            answer = gw.chat(**{name: 1 for name in names})
            asked = gw.trace(answer)["attempts"]

        self.assertEqual((answer.status, len(asked)), (400, 4))
        self.assertIn(b"min_p", answer.body)


if __name__ == "__main__":
    main()
