// An OpenID Connect provider for tests: npm's oidc-provider, with people, groups and two clients.
//
//   node identity_provider.mjs '{"port": 0, "alg": "RS256", "access_alg": "ES256", "api": "https://gateway.test", "cert"?, "key"?}'
//
// Prints one line {"issuer": …} when it listens. Each start makes new keys. `moongate` is a public client of people, `robot`
// one of machines (secret "robot-secret"). Whoever signs in as NAME is NAME, with the groups below.
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { randomBytes } from "node:crypto";
import Provider from "oidc-provider";
import { exportJWK, generateKeyPair } from "jose";

const options = JSON.parse(process.argv[2]);
const groups = { olga: ["platform"], ann: ["search-leads"], vic: ["support-readers", "search-readers"], eve: [] };

async function newKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: "sig", kid: `${alg}-${randomBytes(6).toString("hex")}` };
}

const tls = options.cert && { cert: readFileSync(options.cert), key: readFileSync(options.key) };
const server = tls ? https.createServer(tls) : http.createServer();
await new Promise((resolve) => server.listen(options.port, "127.0.0.1", resolve));
const issuer = tls ? `https://localhost:${server.address().port}` : `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  jwks: { keys: [await newKey("RS256"), await newKey("ES256")] },
  cookies: { keys: [randomBytes(16).toString("hex")] },
  clients: [
    {
      client_id: "moongate", token_endpoint_auth_method: "none", application_type: "native",
      grant_types: ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"], response_types: ["code"],
      redirect_uris: ["http://127.0.0.1/callback"], id_token_signed_response_alg: options.alg,
    },
    {
      client_id: "other", token_endpoint_auth_method: "none", application_type: "native",
      grant_types: ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"], response_types: ["code"],
      redirect_uris: ["http://127.0.0.1/callback"], id_token_signed_response_alg: options.alg,
    },
    {
      client_id: "robot", client_secret: "robot-secret", grant_types: ["client_credentials"], response_types: [], redirect_uris: [],
    },
  ],
  claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
  scopes: ["openid", "email", "groups"],
  conformIdTokenClaims: false,
  findAccount: (context, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: id !== "eve", groups: groups[id] ?? [] }),
  }),
  features: {
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (context, resource) => ({
        scope: "gateway:operate", audience: resource, accessTokenFormat: "jwt", accessTokenTTL: 600,
        jwt: { sign: { alg: options.access_alg } },
      }),
      defaultResource: () => undefined,
      useGrantedResource: () => true,
    },
  },
  ttl: { IdToken: 600, AccessToken: 600, DeviceCode: 300, Session: 600, Interaction: 600, Grant: 600 },
});
provider.proxy = false;
server.on("request", provider.callback());
console.log(JSON.stringify({ issuer }));
process.stdin.on("end", () => process.exit(0)).resume(); // it dies with the test
