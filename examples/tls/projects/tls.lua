-- TLS towards providers is on for every https:// address and verified against the system's certificates. A provider of
-- your own may have its own CA, and may want a certificate from the gateway:
--
--   house = { base_url = "https://llm.internal/v1", tls = { ca = "house-ca.pem", cert = "me.pem", key = "me.key" } },
return {
  providers = {
    sim = { kind = "simulated" },
  },
  workflows = {
    chat = "sim/moon",
  },
}
