// A certified OpenID provider with one client and people who need no password. Arguments: the client's redirect URI and the
// URI that hears of logouts; then, to have TLS, its issuer and the files of key and certificate. Says its issuer on the first line; ends with its standard input.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import Provider from 'oidc-provider';

const [redirect, logout, own, key, certificate] = process.argv.slice(2);
const logins = new Map();

// What the directory says about somebody depends on the name alone.
const groups = (id) => {
  if (id.startsWith('nogroups')) return {};
  if (id.startsWith('onegroup')) return { groups: 'Site Reliability' };
  if (id.startsWith('overage')) return { _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint: 'https://directory.invalid' } } };
  return { groups: ['Site Reliability', 'Everyone'] };
};

const configure = (issuer) => ({
  clients: [{
    client_id: 'usher',
    client_secret: 'a-secret-of-more-than-thirty-two-characters',
    redirect_uris: [redirect],
    response_types: ['code'],
    grant_types: ['authorization_code'],
    backchannel_logout_uri: logout,
    backchannel_logout_session_required: true,
  }],
  pkce: { required: () => true },
  conformIdTokenClaims: false,
  scopes: ['openid', 'profile', 'email'],
  claims: {
    openid: ['sub', 'groups', '_claim_names', '_claim_sources'],
    profile: ['name', 'preferred_username'],
    email: ['email', 'email_verified'],
    acr: null, amr: null, auth_time: null, sid: null,
  },
  acrValues: ['phr'],
  features: {
    devInteractions: { enabled: false },
    claimsParameter: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => { ctx.body = `<!doctype html><title>Sign out</title>${form}<button form="op.logoutForm" name="logout" value="yes">Sign out</button>`; },
    },
  },
  // It guards itself against private addresses too; the broker of a test has one.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  cookies: { keys: ['not a secret'] },
  ttl: { IdToken: 300, AccessToken: 300, Interaction: 600, Session: 3600, Grant: 3600 },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({
      sub: id, name: `${id} of Example`, preferred_username: `${id.split('|').pop()}@example.test`,
      email: 'victim@example.test', email_verified: true, ...groups(id), ...(logins.get(id) ?? {}),
    }),
  }),
});

const page = `<!doctype html><html lang="en"><title>Example Identity</title><h1>Example Identity</h1>
<form method="post"><label>Name <input name="login" autofocus></label><button>Sign in</button><button name="refuse" value="1">Refuse</button></form>`;

const interact = async (provider, request, response) => {
  const details = await provider.interactionDetails(request, response);
  if (details.prompt.name === 'login') {
    if (request.method === 'GET') {
      response.setHeader('content-type', 'text/html; charset=utf-8');
      return response.end(page);
    }
    let body = '';
    for await (const chunk of request) body += chunk;
    const form = new URLSearchParams(body);
    if (form.has('refuse')) {
      const refusal = { error: 'access_denied', error_description: 'not <b>assigned</b> to this application' };
      return provider.interactionFinished(request, response, refusal, { mergeWithLastSubmission: false });
    }
    const accountId = form.get('login');
    const amr = accountId.startsWith('onefactor') ? ['pwd'] : ['pwd', 'hwk', 'mfa', 'face'];
    const login = { accountId, acr: 'phr', amr, remember: true };
    return provider.interactionFinished(request, response, { login }, { mergeWithLastSubmission: false });
  }
  const grant = new provider.Grant({ accountId: details.session.accountId, clientId: details.params.client_id });
  grant.addOIDCScope('openid profile email');
  const missing = details.prompt.details.missingOIDCClaims;
  if (missing) grant.addOIDCClaims(missing);
  const grantId = await grant.save();
  return provider.interactionFinished(request, response, { consent: { grantId } }, { mergeWithLastSubmission: true });
};

let provider;
let answer;
const respond = (request, response) => {
  const done = request.url.startsWith('/interaction/') ? interact(provider, request, response) : answer(request, response);
  Promise.resolve(done).catch((error) => { response.statusCode = 500; response.end(String(error)); });
};
const server = own
  ? https.createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, respond)
  : http.createServer(respond);
server.listen(own ? new URL(own).port : 0, own ? '0.0.0.0' : '127.0.0.1', () => {
  const issuer = own ?? `http://127.0.0.1:${server.address().port}`;
  provider = new Provider(issuer, configure(issuer));
  provider.on('backchannel.error', (ctx, error) => process.stderr.write(`${error.stack} ${error.cause}\n`));
  answer = provider.callback();
  process.stdout.write(`${issuer}\n`);
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
