-- Who owes what: rates of each customer, a free tier and volume discounts, by the plugin `invoicing`. Start it, let some
-- customers call, then:
--
--   moongate usage bill --plugin invoicing --project invoice -c examples/invoice
--
-- The requests say whose they are in their metadata: {"customer": "acme"}.
return {
  listen = "127.0.0.1:8080",
  data_dir = "data",
}
