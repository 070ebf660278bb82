import { describe, expect, it } from '@jest/globals';
import { adviceOf, DIGEST, GOOD_IMAGE, imageAdviceOf, linesOf, NOW_MS } from '../advise.ts';

const DAY_MS = 86_400_000;

function basedOn(name: string, digest?: string) {
  return {
    manifest: {
      ...GOOD_IMAGE.manifest,
      annotations: {
        'org.opencontainers.image.base.name': name,
        ...(digest !== undefined && { 'org.opencontainers.image.base.digest': digest }),
      },
    },
  };
}

describe('adviseDockerfile', () => {
  describe('base-image-latest', () => {
    it.each([
      { when: 'the tag is latest', given: 'FROM node:latest', want: [1] },
      { when: 'there is no tag', given: 'FROM ghcr.io/acme/base', want: [1] },
      { when: 'there is a port but no tag', given: 'FROM localhost:5000/base', want: [1] },
      { when: 'an argument says latest', given: 'ARG TAG=latest\nFROM node:${TAG}', want: [2] },
      { when: 'an earlier stage has it', given: 'FROM node AS build\nFROM alpine:3.24', want: [1] },
      { when: 'there is a version', given: 'FROM node:24', want: [] },
      { when: 'latest is pinned', given: `FROM node:latest@${DIGEST}`, want: [] },
      { when: 'there is a digest behind a port', given: `FROM localhost:5000/base@${DIGEST}`, want: [] },
      { when: 'it is a stage, in another case', given: 'FROM node:24 AS Base\nFROM bASE', want: [] },
      { when: 'it is scratch', given: 'FROM scratch', want: [] },
      { when: 'the argument has no default', given: 'ARG BASE\nFROM ${BASE}', want: [] },
      { when: 'only a later argument has a default', given: 'FROM $BASE\nARG BASE=node', want: [] },
      { when: 'it is no image', given: 'FROM Not//an:image:', want: [] },
      { when: 'FROM is in a heredoc', given: 'FROM node:24\nRUN <<EOF\nFROM node\nEOF', want: [] },
    ])('looks at the tag when $when', ({ given, want }) => {
      expect(linesOf('base-image-latest', given)).toEqual(want);
    });

    it('says that no tag means latest', () => {
      expect(adviceOf('base-image-latest', 'FROM node')).toMatchObject([
        { severity: 'Medium', message: expect.stringContaining('node without a tag means latest') },
      ]);
    });
  });

  describe('base-image-unpinned', () => {
    it.each([
      { when: 'there is a tag only', given: 'FROM --platform=$BUILDPLATFORM node:24-slim AS x', want: [1] },
      { when: 'a default makes the tag', given: 'FROM debian:${VER:-12}', want: [1] },
      { when: 'the line goes on', given: '# escape=`\nFROM `\n  node:24', want: [2] },
      { when: 'there is a digest', given: `FROM node:24@${DIGEST}`, want: [] },
      { when: 'the tag is latest, which is said otherwise', given: 'FROM node:latest', want: [] },
      { when: 'it is a stage', given: `FROM node:24@${DIGEST} AS a\nFROM a`, want: [] },
    ])('looks for a digest when $when', ({ given, want }) => {
      expect(linesOf('base-image-unpinned', given)).toEqual(want);
    });
  });

  describe('base-image-end-of-life', () => {
    it.each([
      { when: 'Debian by number', given: 'FROM debian:10-slim', want: [1] },
      { when: 'Debian by name and date', given: 'FROM debian:buster-20240612-slim', want: [1] },
      { when: 'Ubuntu', given: 'FROM ubuntu:20.04', want: [1] },
      { when: 'Ubuntu by name', given: 'FROM docker.io/library/ubuntu:bionic', want: [1] },
      { when: 'Alpine', given: 'FROM alpine:3.17.2', want: [1] },
      { when: 'Node.js', given: 'FROM node:18', want: [1] },
      { when: 'Python', given: 'FROM python:3.8.1-slim', want: [1] },
      { when: 'Python 2', given: 'FROM python:2.7', want: [1] },
      { when: 'the system under a living language', given: 'FROM node:24-alpine3.18', want: [1] },
      { when: 'the system under an unknown image', given: 'FROM ruby:3.4-bullseye', want: [1] },
      { when: 'a mirror of the official images', given: 'FROM public.ecr.aws/docker/library/node:16', want: [1] },
      { when: 'pinned, which mends nothing', given: `FROM node:16@${DIGEST}`, want: [1] },
      { when: 'a living Debian', given: 'FROM debian:12.5', want: [] },
      { when: 'a living Alpine', given: 'FROM alpine:3.24', want: [] },
      { when: 'Python 3.14, which is not 3.1', given: 'FROM python:3.14', want: [] },
      { when: 'a tag that names no release', given: 'FROM node:lts-slim', want: [] },
      { when: 'an unknown release', given: 'FROM node:99', want: [] },
      { when: "somebody else's image of that name", given: 'FROM ghcr.io/acme/node:16', want: [] },
      { when: 'a Harbor project called library', given: 'FROM harbor.acme.com/library/node:16', want: [] },
      { when: 'an image of an organisation', given: 'FROM bitnami/node:16', want: [] },
    ])('knows $when', ({ given, want }) => {
      expect(linesOf('base-image-end-of-life', given)).toEqual(want);
    });

    it.each([
      { date: '2024-06-30T23:00:00Z', want: [] },
      { date: '2024-07-01T00:00:00Z', want: [1] },
    ])('counts the last day with fixes as one: $date', ({ date, want }) => {
      expect(linesOf('base-image-end-of-life', 'FROM debian:10', { nowMs: Date.parse(date) })).toEqual(want);
    });

    it('names the release and the date', () => {
      expect(adviceOf('base-image-end-of-life', 'FROM node:18-alpine')).toMatchObject([
        { severity: 'High', message: expect.stringMatching(/node:18-alpine has Node\.js 18.*2025-04-30/) },
      ]);
    });
  });
});

describe('adviseImage', () => {
  describe('base-image-end-of-life', () => {
    it.each([
      { when: 'the scanner says so', given: { endOfLife: true }, want: 1 },
      { when: 'the name of the base is known for it', given: basedOn('docker.io/library/debian:10', DIGEST), want: 1 },
      { when: 'nobody knows', given: {}, want: 0 },
      { when: 'the scanner knows better', given: { ...basedOn('debian:10'), endOfLife: false }, want: 0 },
      { when: 'the base lives', given: basedOn('debian:12'), want: 0 },
    ])('speaks up only if it must when $when', ({ given, want }) => {
      expect(imageAdviceOf('base-image-end-of-life', given)).toHaveLength(want);
    });
  });

  describe('base-image-old', () => {
    it.each([
      { when: 'it is older than 90 days', given: { baseCreatedMs: NOW_MS - 91 * DAY_MS }, want: 1 },
      { when: 'the bound is lower', given: { baseCreatedMs: NOW_MS - 31 * DAY_MS, maxBaseAgeDays: 30 }, want: 1 },
      { when: 'it is 90 days old', given: { baseCreatedMs: NOW_MS - 90 * DAY_MS }, want: 0 },
      { when: 'its age is not known', given: {}, want: 0 },
      { when: 'a reproducible build has no date', given: { baseCreatedMs: 0 }, want: 0 },
      { when: 'it is from the future', given: { baseCreatedMs: NOW_MS + DAY_MS }, want: 0 },
    ])('looks at the age of the base when $when', ({ given, want }) => {
      expect(imageAdviceOf('base-image-old', given)).toHaveLength(want);
    });
  });

  describe('base-image-unpinned', () => {
    it.each([
      { when: 'only its name is recorded', given: basedOn('debian:12'), want: 1 },
      { when: 'the digest is recorded', given: basedOn('debian:12', DIGEST), want: 0 },
      { when: 'the name has the digest', given: basedOn(`debian:12@${DIGEST}`), want: 0 },
      { when: 'nothing is recorded', given: {}, want: 0 },
      { when: 'the name is none', given: basedOn('Debian 12'), want: 0 },
    ])('looks for the digest of the base when $when', ({ given, want }) => {
      expect(imageAdviceOf('base-image-unpinned', given)).toHaveLength(want);
    });
  });
});
