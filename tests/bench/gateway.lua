-- The gateway that bench.py measures, with ports and folders filled in: one worker, a plain listener and one with TLS.
return {
  listen = {
    "127.0.0.1:@PLAIN@",
    { "127.0.0.1:@TLS@", cert = "@CERTS@/cert.pem", key = "@CERTS@/key.pem" },
  },
  admin = false,
  workers = 1,
  log = { level = "warn" },
}
