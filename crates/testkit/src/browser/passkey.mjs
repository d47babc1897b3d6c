// A person with a passkey at Debian's Chromium, whose authenticator is DevTools' virtual one: sets up with a code, then signs
// in. Arguments: the set-up page, the code, the password, the sign-in page, and a directory for pictures or nothing. The home
// directory's certificate store says whom to believe. Prints JSON: `finished`, what set-up said; `arrived`, where the
// sign-in led; `refused`, what the page said while the authenticator did not know its owner; `foreign`, other origins that
// anything was loaded from; `milliseconds`, until the sign-in page took input; and
// on the account page `again`, what it said to a second key of the same authenticator, and `passkeys`, all of them then.
import { chromium } from 'playwright-core';

const [setUp, code, password, signIn, pictures] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--no-proxy-server', '--disable-gpu', '--disable-dev-shm-usage'],
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(30_000);
  const picture = async (what) => {
    if (!pictures) return;
    for (const [size, width] of [['phone', 390], ['desktop', 1280]]) {
      for (const colorScheme of ['light', 'dark']) {
        await page.setViewportSize({ width, height: 844 });
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: `${pictures}/${what}-${size}-${colorScheme}.png`, fullPage: true });
      }
    }
  };
  const own = new URL(signIn).origin;
  const loaded = [];
  page.on('request', (request) => loaded.push(new URL(request.url()).origin));
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('WebAuthn.enable', { enableUI: false });
  const options = { protocol: 'ctap2', ctap2Version: 'ctap2_1', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true };
  let { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', { options });
  const knowsOwner = (isUserVerified) => devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified });

  await page.goto(setUp);
  await page.getByLabel('Set-up code').fill(code);
  await picture('set-up');
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByLabel('Password again').fill(password);
  await picture('set-up-finish');
  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await page.waitForURL((url) => url.pathname === '/set-up/finish');
  await picture('set-up-done');
  const finished = (await page.innerText('main')).replace(/\s+/g, ' ').trim();

  await page.goto(new URL('/account', own).href);
  await picture('account-sign-in');
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await page.getByLabel('Name of a new passkey').fill('Security key');
  await picture('account');
  // The same authenticator has one already.
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  const again = await page.locator('.problem:visible').innerText();
  await devtools.send('WebAuthn.removeVirtualAuthenticator', { authenticatorId });
  ({ authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', { options }));
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  await page.getByText('The passkey was added.').waitFor();
  await picture('account-two');
  const passkeys = await page.locator('.rows li > span').allInnerTexts();
  await page.getByRole('button', { name: 'Remove Passkey 1' }).click();
  await page.getByText('The passkey was removed.').waitFor();
  await page.getByRole('button', { name: 'Make new recovery codes' }).click();
  await page.getByRole('heading', { name: 'New recovery codes' }).waitFor();
  await picture('recovery-codes');

  await page.goto(signIn);
  const milliseconds = await page.evaluate(() => performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd);
  await picture('sign-in-passkey');
  await knowsOwner(false);
  const button = page.getByRole('button', { name: 'Sign in with a passkey' });
  await button.click();
  const problem = page.locator('.problem:visible');
  const refused = await problem.innerText();
  await picture('sign-in-passkey-refused');
  await knowsOwner(true);
  const foreign = loaded.filter((origin) => origin !== own);
  const arrival = page.waitForRequest((request) => request.url().startsWith('http://127.0.0.1:'));
  await button.click();
  const arrived = (await arrival).url();
  process.stdout.write(`${JSON.stringify({ finished, refused, arrived, again, passkeys, foreign, milliseconds })}\n`);
} finally {
  await browser.close();
}
