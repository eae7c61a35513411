"use strict";
// What a page holds as text: values in script elements, arrays among them by their bytes.
const dnn2graph = (() => {
  const ARRAYS = { "<f4": Float32Array, "<f8": Float64Array, "<u4": Uint32Array };
  const bytesOf = (text) => // the first is new in browsers, and faster
    Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0));
  return {
    read: (id) => JSON.parse(document.getElementById(id).textContent),
    unpack: (packed) =>
      packed.dtype === undefined ? packed : new ARRAYS[packed.dtype](bytesOf(packed.data).buffer),
  };
})();
