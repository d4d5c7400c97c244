// What every page has: the connection, who is there, and the channels beside the page with what is unread in them.
import { connect } from "/neolith/static/client/live.js";
import { People } from "./people.js";
import { Sidebar } from "./sidebar.js";

const here = document.getElementById("line")?.dataset.channel ?? null;

export const socket = connect();
export const people = new People(socket);
export const sidebar = new Sidebar({ socket, people, here });

// dialogs are fetched when somebody opens one: a first load is small
for (const [id, opens] of [["new-channel", "openNewChannel"], ["new-dm", "openNewDirect"]]) {
  document.getElementById(id).addEventListener("click", async () => (await import("./rooms.js"))[opens](people));
}
