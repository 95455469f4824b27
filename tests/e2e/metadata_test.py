"""Metadata that cannot be recorded is refused, since it would be missing from the bill and from limits."""

import json
import unittest

from moongate import Gateway, Upstream, main, project


class TooLarge(unittest.TestCase):
    def test_metadata_of_the_body_is_recorded_or_refused_and_never_left_out(self):
        fits = {"user": "ann", "pad": "x" * 2000}
        self.assertLessEqual(len(json.dumps(fits)), 2048)
        with Upstream() as up, Gateway(project(up)) as gw:
            good = gw.chat(metadata=fits)
            self.assertEqual(good.status, 200)
            self.assertEqual(gw.trace(good)["metadata"], fits)

            refused = gw.chat(metadata={**fits, "more": "y" * 100})
            self.assertEqual((refused.status, refused.json["error"]["code"], refused.json["error"]["param"]),
                             (400, "invalid_metadata", "metadata"))
            self.assertEqual(up.count, 1)

    def test_a_header_goes_before_the_body_whatever_its_size(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            answer = gw.chat(metadata={"pad": "x" * 3000}, headers={"x-moongate-metadata": '{"user": "bob"}'})
            self.assertEqual(gw.trace(answer)["metadata"], {"user": "bob"})


if __name__ == "__main__":
    main()
