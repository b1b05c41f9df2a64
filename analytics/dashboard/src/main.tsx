/** Entry point. Builds one session keeper and one API client; the page makes one store for each login. */

import { render } from "preact";
import "./styles/base.css";
import "./styles/cards.css";
import "./styles/chart.css";
import { Api } from "./api";
import { SessionKeeper } from "./session";
import { App } from "./views/app";

const sessions = new SessionKeeper(window.localStorage);
const api = new Api(sessions);
const socketUrl = `${window.location.origin.replace(/^http/, "ws")}/ws`;

render(<App api={api} sessions={sessions} socketUrl={socketUrl} />, document.getElementById("page") as HTMLElement);
void api.restore();
