// Where saved widgets find anywidget: beside this file, never elsewhere.
requirejs.config({ paths: { anywidget: new URL("vendor/anywidget", document.currentScript.src).href } });
