// Passkeys on the pages of the broker: a button asks the broker what to do, the browser does it, a form takes the answer
// back. Without this script, or in a browser that has no passkeys, the button stays hidden and the forms do without it.
'use strict';

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
const text = (buffer) => {
  const characters = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join('');
  return btoa(characters).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
};

const described = (list) => (list ?? []).map((key) => ({ ...key, id: bytes(key.id) }));

async function register(publicKey) {
  publicKey.challenge = bytes(publicKey.challenge);
  publicKey.user.id = bytes(publicKey.user.id);
  publicKey.excludeCredentials = described(publicKey.excludeCredentials);
  const made = await navigator.credentials.create({ publicKey });
  const { attestationObject, clientDataJSON } = made.response;
  return { ...answered(made), response: { attestationObject: text(attestationObject), clientDataJSON: text(clientDataJSON) } };
}

async function signIn(publicKey) {
  publicKey.challenge = bytes(publicKey.challenge);
  publicKey.allowCredentials = described(publicKey.allowCredentials);
  const found = await navigator.credentials.get({ publicKey });
  const { authenticatorData, clientDataJSON, signature, userHandle } = found.response;
  const response = {
    authenticatorData: text(authenticatorData),
    clientDataJSON: text(clientDataJSON),
    signature: text(signature),
    userHandle: userHandle ? text(userHandle) : null,
  };
  return { ...answered(found), response };
}

const answered = (key) => ({ id: key.id, rawId: text(key.rawId), type: key.type, extensions: {} });

const problems = {
  InvalidStateError: 'This device has a passkey of yours here already.',
  NotAllowedError: 'Nothing was chosen, or it took too long. Try again.',
  NotSupportedError: 'This device cannot keep a passkey.',
};

async function press(button) {
  const form = button.form;
  const problem = form.querySelector('.problem');
  problem.hidden = true;
  // What is typed beside the passkey counts too; what it stands in for does not.
  const instead = form.querySelectorAll('[data-instead]');
  for (const field of instead) field.disabled = true;
  try {
    if (!form.reportValidity()) return;
    const body = new URLSearchParams({ request: form.elements.request.value });
    const asked = await fetch(button.dataset.options, { method: 'POST', body });
    if (!asked.ok) throw new Error(asked.status === 429 ? 'Too many attempts. Wait a minute and try again.' : 'This page is too old. Start again.');
    const { options, ceremony } = await asked.json();
    const answer = await (button.dataset.passkey === 'register' ? register : signIn)(options.publicKey);
    form.elements.ceremony.value = ceremony;
    form.elements.credential.value = JSON.stringify(answer);
    form.submit();
  } catch (error) {
    problem.textContent = problems[error.name] ?? error.message;
    problem.hidden = false;
  } finally {
    for (const field of instead) field.disabled = false;
  }
}

if (window.PublicKeyCredential) {
  for (const button of document.querySelectorAll('button[data-passkey]')) {
    button.closest('.passkey').hidden = false;
    button.addEventListener('click', () => press(button));
  }
}
