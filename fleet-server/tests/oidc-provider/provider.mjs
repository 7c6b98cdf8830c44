// An identity provider over HTTPS: `node provider.mjs CERTIFICATE KEY`.
//
// It prints its port, reads one line with the redirect URI of its one client, and prints "ready". Whoever signs in is
// who they say they are, with any password; what groups they are in the user information tells.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import { Provider } from 'oidc-provider';

const [certificate, key] = process.argv.slice(2);
const groups = { ann: ['staff', 'fleet-editors'], root: ['fleet-admins'], guest: ['visitors'] };

const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) });
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));

const lines = createInterface({ input: process.stdin });
lines.once('line', (redirectUri) => {
  const provider = new Provider(`https://localhost:${server.address().port}`, {
    clients: [
      {
        client_id: 'fleet',
        client_secret: 'a secret of the client',
        redirect_uris: [redirectUri],
      },
    ],
    pkce: { required: () => true },
    claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
    scopes: ['openid', 'profile', 'groups'],
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, groups: groups[id] ?? [] }),
    }),
  });
  provider.on('server_error', (_, error) => console.error(error));
  server.on('request', provider.callback());
  console.log('ready');
});
// The test has gone.
lines.once('close', () => process.exit(0));
