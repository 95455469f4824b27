--- The process: where it listens and keeps its data. Everything else has a default; `moongate help serve` and
--- docs/reference/configuration.md name them all. A change here needs a restart, projects/ does not.
return {
  listen = "127.0.0.1:8080",  -- applications point their SDK at this; ":8080" opens it to your network
  admin = "127.0.0.1:8081",   -- health, readiness and metrics; keep it on loopback
  data_dir = "data",          -- keys, the usage journal, the request log
  log = { level = "warn" },
}
