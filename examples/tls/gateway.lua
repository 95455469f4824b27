-- TLS towards clients. Make a certificate to try it with, then serve:
--
--   moongate cert localhost --dir examples/tls
--   moongate serve -c examples/tls
--   curl --cacert examples/tls/cert.pem https://localhost:8443/v1/models -H "Authorization: Bearer $KEY"
--
-- Both files are read again when they change. With client_ca = "clients.pem" clients must show a certificate, too.
return {
  listen = { address = "127.0.0.1:8443", cert = "cert.pem", key = "key.pem" },
  data_dir = "data",
}
