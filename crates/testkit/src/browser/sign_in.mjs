// A person at Debian's Chromium: opens the sign-in page, chooses a connector, signs in at the provider of `idp.rs`, and
// arrives where the program that asked listens. Arguments: the address, the connector, the name, where names are
// (in Chromium's words, or nothing), and a directory for pictures or nothing. The home directory's certificate store says whom to believe. Prints what the last page says.
import { chromium } from 'playwright-core';

const [address, connector, name, names, pictures] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--no-proxy-server', '--disable-gpu', '--disable-dev-shm-usage', `--host-resolver-rules=${names ?? ''}`],
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
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
  const loaded = [];
  page.on('request', (request) => loaded.push(new URL(request.url()).origin));
  await page.goto(address);
  const origin = new URL(address).origin;
  const foreign = loaded.filter((other) => other !== origin);
  await picture('sign-in');
  await page.getByRole('link', { name: `Sign in with ${connector}` }).click();
  if (name) {
    await page.getByLabel('Name').fill(name);
    await page.getByRole('button', { name: 'Sign in' }).click();
    const arrived = (url) => (url.protocol === 'http:' && url.pathname !== '/' && !url.pathname.startsWith('/interaction') && !url.pathname.startsWith('/auth')) || url.origin === origin;
    await page.waitForURL(arrived);
  }
  await page.waitForLoadState();
  await picture(`after-${connector}`);
  const text = (await page.innerText('body')).replace(/\s+/g, ' ').trim();
  process.stdout.write(`${JSON.stringify({ host: new URL(page.url()).hostname, text, foreign })}\n`);
} finally {
  await browser.close();
}
