import { render } from "preact";
import { App } from "./app.ts";
import { loadPieces } from "./board.ts";
import "./style.css";
import { Root } from "./views/root.tsx";

void loadPieces();
const app = new App();
app.start();
const root = document.getElementById("app");
if (root) render(<Root app={app} />, root);
