// What a type checker does not see. typescript-eslint reads TypeScript through its JavaScript interface, which TypeScript 7 does
// not have yet: that is why this client is checked by 6.0.
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["dist", "node_modules", "src/protocol"] },
  ...tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: { allowDefaultProject: ["*.js", "scripts/*.mjs", "public/*.js"] }, tsconfigRootDir: import.meta.dirname } },
    rules: {
      eqeqeq: "error",
      // Callbacks in props are written as methods here, and none of them knows a `this`.
      "@typescript-eslint/unbound-method": "off",
    },
  },
  { files: ["**/*.js", "**/*.mjs"], extends: [tseslint.configs.disableTypeChecked] },
);
