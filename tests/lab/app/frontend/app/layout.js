import "./site.css";

export const metadata = { title: "maicivy in the lab" };

export default function Layout({ children }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}
