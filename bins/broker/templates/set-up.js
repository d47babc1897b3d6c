// The link of an invitation carries its code behind `#`, which browsers tell nobody: it is put into the form, and taken out
// of the address. Without this script it is typed.
'use strict';

const code = decodeURIComponent(location.hash.slice(1));
if (code) {
  document.getElementById('code').value = code;
  history.replaceState(null, '', location.pathname);
}
