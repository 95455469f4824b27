-- Who owes what, by rules of one's own. Start it, let some customers call, then:
--
--   moongate usage bill examples/invoice/invoice.lua -c examples/invoice
--
-- The requests say whose they are in their metadata: {"customer": "acme"}.
return {
  listen = "127.0.0.1:8080",
  data_dir = "data",
}
