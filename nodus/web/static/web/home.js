import { watchNews } from "./news.js";

watchNews();
