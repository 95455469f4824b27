-- A project without Lua of its own: the default policy, and TLS towards the provider for `bench-tls`.
return {
  providers = {
    mock = { base_url = "http://127.0.0.1:@MOCK@/v1", api_key = "sk-bench" },
    mocks = { base_url = "https://127.0.0.1:@MOCK_TLS@/v1", api_key = "sk-bench", tls = { ca = "@CERTS@/cert.pem" } },
  },
  workflows = {
    bench = { "mock/bench" },
    ["bench-tls"] = { "mocks/bench" },
  },
}
